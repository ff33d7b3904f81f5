package twister

import "time"

// outFrame is a frame under way.
type outFrame struct {
	uuid     string
	data     []byte
	priority int
	number   int // 0 until it is posted
	pieces   []outPiece
	queued   int           // pieces in the poster's queue
	due      time.Time     // when it is posted again unless a receipt comes
	patience time.Duration // from post to due
	done     chan struct{} // closed when it is confirmed
	waiters  []chan error  // of those who want to hear of failures
}

type outPiece struct {
	k      int // of its last post, -1 before
	at     time.Time
	queued bool
	had    bool // the recipient says that he has it
}

func (f *outFrame) confirmed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

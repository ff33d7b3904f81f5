package twister

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// maxRecent is how many frames are remembered after they were confirmed, so that the same again is no other.
	maxRecent = 256

	maxPatience  = 24 * time.Hour
	retryRefused = time.Minute // after a post that the daemon refused for its recipient, unless somebody asks again
)

// outbox is what is under way to one recipient. A frame gets its number when its first piece is posted, and is under way until the
// recipient's receipt covers it. What is not covered is posted again, each time as a new post:
//
//   - a piece of the oldest frame once no receipt has come for ResendAfter, then twice that, up to a day. Only that: it asks for a
//     receipt, which says what else is missing, and a recipient who is away for long costs few posts;
//   - what a receipt says is missing, unless it may still be on its way;
//   - what the own daemon has lost, as a session begins.
type outbox struct {
	to       string
	epoch    uint32 // of this start
	receipts bool
	resend   time.Duration
	status   *status
	post     func(m post, done func(k int, err error))
	ride     func() *receipt           // what is due to the recipient
	rode     func(r *receipt, ok bool) // says that it was posted
	slots    chan struct{}             // one token for each frame under way

	mu     sync.Mutex // guards all that follows
	next   int        // number of the next frame
	frames []*outFrame
	recent []string  // uuids of confirmed frames, the oldest first
	begun  time.Time // when a receipt last had all frames begin anew
}

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

func newOutbox(to string, c Config, st *status) *outbox {
	return &outbox{
		to: to, receipts: c.receipts() == receiptsOn, resend: c.ResendAfter, status: st,
		slots: make(chan struct{}, maxAhead), next: 1,
	}
}

// publish puts a frame under way. What it returns waits until the frame is confirmed, or ctx ends or the daemon refuses it: then the
// frame goes on being under way, and who publishes a frame of that uuid waits for this one.
func (o *outbox) publish(ctx context.Context, uuid string, data []byte, priority int) (wait func() error) {
	failed := make(chan error, 1)
	f, err := o.add(ctx, uuid, data, priority, failed)
	if f == nil || err != nil {
		return func() error { return err }
	}
	return func() error {
		defer o.leave(f, failed)
		select {
		case <-f.done:
			return nil
		case err := <-failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("no receipt yet: %w", ctx.Err())
		}
	}
}

// add puts a frame under way, or finds the one that is. Nil says that it was confirmed.
func (o *outbox) add(ctx context.Context, uuid string, data []byte, priority int, failed chan error) (*outFrame, error) {
	if f, known := o.join(uuid, failed); known {
		return f, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	select {
	case o.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%d frames without a receipt: %w", maxAhead, ctx.Err())
	}
	o.mu.Lock()
	if _, known := o.find(uuid); known { // by another, meanwhile
		o.mu.Unlock()
		<-o.slots
		f, _ := o.join(uuid, failed)
		return f, nil
	}
	f := &outFrame{
		uuid: uuid, data: slices.Clone(data), priority: priority, pieces: make([]outPiece, piecesOf(data)), patience: o.resend,
		done: make(chan struct{}), waiters: []chan error{failed},
	}
	for i := range f.pieces {
		f.pieces[i].k = -1
	}
	o.frames = append(o.frames, f)
	jobs := o.queue(f, func(outPiece) bool { return true })
	o.mu.Unlock()
	o.start(jobs)
	return f, nil
}

// find is called under the lock.
func (o *outbox) find(uuid string) (f *outFrame, known bool) {
	if i := slices.IndexFunc(o.frames, func(f *outFrame) bool { return f.uuid == uuid }); i >= 0 {
		return o.frames[i], true
	}
	return nil, slices.Contains(o.recent, uuid)
}

// join waits for the frame of that uuid with those who do. One that was refused is tried again.
func (o *outbox) join(uuid string, failed chan error) (f *outFrame, known bool) {
	o.mu.Lock()
	f, known = o.find(uuid)
	var jobs []job
	if f != nil {
		f.waiters = append(f.waiters, failed)
		if f.queued == 0 {
			jobs = o.queue(f, func(p outPiece) bool { return p.k < 0 })
		}
	}
	o.mu.Unlock()
	o.start(jobs)
	return f, known
}

func (o *outbox) leave(f *outFrame, failed chan error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f.waiters = slices.DeleteFunc(f.waiters, func(c chan error) bool { return c == failed })
}

// job is one piece to post.
type job struct {
	frame *outFrame
	index int
	asks  bool
}

// queue marks the pieces of a frame that are to be posted. It is called under the lock; start follows without it.
func (o *outbox) queue(f *outFrame, which func(outPiece) bool) []job {
	var jobs []job
	for i := range f.pieces {
		if p := &f.pieces[i]; !p.queued && !p.had && which(*p) {
			p.queued = true
			f.queued++
			jobs = append(jobs, job{frame: f, index: i})
		}
	}
	return jobs
}

func (o *outbox) start(jobs []job) {
	for _, j := range jobs {
		var riding *receipt
		o.post(post{
			to: o.to, priority: j.frame.priority,
			text: func(k int) string {
				if riding != nil { // of an attempt that failed
					o.rode(riding, false)
				}
				var text string
				text, riding = o.text(j, k)
				return text
			},
		}, func(k int, err error) {
			if riding != nil {
				o.rode(riding, k >= 0)
			}
			o.posted(j, k, err)
		})
	}
}

// text returns the message of a piece, and the receipt that rides on it; an empty one if the piece is not wanted any more.
func (o *outbox) text(j job, k int) (string, *receipt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := j.frame
	if f.confirmed() || f.pieces[j.index].had {
		return "", nil
	}
	if f.number == 0 {
		o.number(f)
	}
	h := header{k: k, receipt: o.ride(), piece: &piece{
		epoch: o.epoch, number: f.number, back: o.back(f.number), index: j.index, count: len(f.pieces), unreceipted: !o.receipts, asks: j.asks,
		uuid: uuidOf(f.data, j.index, f.uuid), data: pieceOf(f.data, j.index),
	}}
	return h.text(), h.receipt
}

// number gives a frame the next number and puts it behind those that have one.
func (o *outbox) number(f *outFrame) {
	f.number = o.next
	o.next++
	slices.SortStableFunc(o.frames, func(a, b *outFrame) int {
		switch {
		case a.number != 0 && b.number != 0:
			return a.number - b.number
		case a.number != 0:
			return -1
		case b.number != 0:
			return 1
		}
		return 0
	})
}

// back returns how far before a number the first is that the recipient must still wait for. Without receipts nobody knows: he gets a
// while to put posts in order.
func (o *outbox) back(number int) int {
	if !o.receipts {
		return min(number-1, 2*maxAhead-1)
	}
	return number - o.frames[0].number
}

// posted takes in what became of a piece.
func (o *outbox) posted(j job, k int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f, p := j.frame, &j.frame.pieces[j.index]
	p.queued = false
	f.queued--
	if k >= 0 {
		p.k, p.at = k, time.Now()
	}
	if err != nil {
		for _, failed := range f.waiters {
			select {
			case failed <- err:
			default:
			}
		}
	}
	switch {
	case f.confirmed() || f.queued > 0:
	case slices.ContainsFunc(f.pieces, func(p outPiece) bool { return p.k < 0 && !p.had }):
		f.due = time.Now().Add(min(retryRefused, o.resend))
	case !o.receipts:
		o.confirm(f)
	default:
		f.due = time.Now().Add(f.patience*9/10 + rand.N(f.patience/5+1))
		f.patience = min(2*f.patience, max(maxPatience, o.resend))
	}
}

func (f *outFrame) confirmed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// confirm is called under the lock.
func (o *outbox) confirm(f *outFrame) {
	close(f.done)
	o.status.bytesOut.Add(uint64(len(f.data)))
	f.data = nil
	o.frames = slices.DeleteFunc(o.frames, func(other *outFrame) bool { return other == f })
	o.recent = append(o.recent, f.uuid)
	if len(o.recent) > maxRecent {
		o.recent = slices.Delete(o.recent, 0, len(o.recent)-maxRecent)
	}
	<-o.slots
}

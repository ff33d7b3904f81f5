package twister

import (
	"context"
	"fmt"
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
	from, to string
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

func newOutbox(to string, c Config, st *status) *outbox {
	return &outbox{
		from: c.User, to: to, receipts: c.receipts() == receiptsOn, resend: c.ResendAfter, status: st,
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

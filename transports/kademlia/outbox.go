package kademlia

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// sending is a frame on its way to a peer, until that has taken it.
type sending struct {
	uuid    string
	payload []byte
	chain   *chain
	result  chan error
	settled bool        // the result is given: nobody waits for it any more
	detach  func() bool // stops waiting for the end of the message's context
}

// settle gives the frame's result, once.
func (s *sending) settle(err error) {
	if s.settled {
		return
	}
	s.settled = true
	s.detach()
	if err != nil {
		s.chain.broken = true
	}
	s.result <- err
}

// outbox holds the frames for one peer in their order until the peer has taken them. Its streams come and go: what a stream has left
// unconfirmed goes over the next one, but for what the peer has received already.
type outbox struct {
	session uint64 // of this process, so that the peer knows the numbers of another

	mu        sync.Mutex
	queue     []*sending
	bytes     int
	confirmed uint64        // number of the frame before the first of the queue
	begun     uint64        // number of the last frame that was given to some stream: it and those before it cannot be taken back
	failures  uint64        // times that frames were given up
	closed    error         // why there will be no more frames
	changed   chan struct{} // closed and replaced when any of these changes
}

func newOutbox() *outbox { return &outbox{session: rand.Uint64(), changed: make(chan struct{})} }

var errBehind = errors.New("a frame before it was given up")

func (o *outbox) change() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// send queues a frame, waiting for room in the window. The channel gives what becomes of it.
func (o *outbox) send(c *chain, m *message.Message) <-chan error {
	ctx := m.Context()
	o.mu.Lock()
	defer o.mu.Unlock()
	unfit := unfit(m)
	fail := func(err error) <-chan error {
		c.broken = true
		return failed(err)
	}
	for failures := o.failures; ; {
		switch err := ctx.Err(); {
		case o.closed != nil:
			return fail(o.closed)
		case o.failures != failures || c.broken:
			return fail(errBehind)
		case err != nil:
			return fail(err)
		case unfit != nil:
			return fail(unfit)
		case len(o.queue) == 0 || len(o.queue) < windowFrames && o.bytes+len(m.Payload) <= windowBytes:
			s := &sending{uuid: m.UUID, payload: m.Payload, chain: c, result: make(chan error, 1)}
			o.queue = append(o.queue, s)
			o.bytes += len(s.payload)
			s.detach = context.AfterFunc(ctx, func() { o.giveUp(s, ctx.Err()) })
			o.change()
			return s.result
		}
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		o.mu.Lock()
	}
}

// giveUp fails a frame, and with it all behind it: none may be taken without those before it. What was begun goes on to the peer,
// for it may have received it; nobody waits for it any more.
func (o *outbox) giveUp(s *sending, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at := slices.Index(o.queue, s); at >= 0 && !s.settled {
		o.failFrom(at, err)
	}
}

// failFrom gives up the frames from that place in the queue on.
func (o *outbox) failFrom(at int, err error) {
	for _, s := range o.queue[at:] {
		s.settle(err)
		err = errBehind
	}
	keep := max(at, int(o.begun-o.confirmed)) // what is begun is never less than what is confirmed
	for _, s := range o.queue[keep:] {
		o.bytes -= len(s.payload)
	}
	o.queue = slices.Delete(o.queue, keep, len(o.queue))
	o.failures++
	o.change()
}

// close fails everything, and whatever comes later: the node stops.
func (o *outbox) close(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = err
	o.failFrom(0, err)
}

// look returns the frame of a number, which is about to be written, or, while there is none, what is closed when that may have changed.
func (o *outbox) look(number uint64) (*sending, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at := number - o.confirmed - 1; number > o.confirmed && at < uint64(len(o.queue)) {
		s := o.queue[at]
		o.begun = max(o.begun, number)
		return s, nil
	}
	return nil, o.changed
}

// pending returns the frame of a number, waiting for one until ctx ends.
func (o *outbox) pending(ctx context.Context, number uint64) (*sending, error) {
	for {
		s, changed := o.look(number)
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// waiting reports whether a frame waits, and what is closed when that may have changed.
func (o *outbox) waiting() (bool, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue) > 0, o.changed
}

// len returns how many frames the peer has not confirmed.
func (o *outbox) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue)
}

// confirm is done with the frames up to a number. A number of frames that were never sent is an error.
func (o *outbox) confirm(until uint64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if until > o.begun {
		return fmt.Errorf("the peer confirms frame %d; %d were sent", until, o.begun)
	}
	for o.confirmed < until {
		s := o.queue[0]
		s.settle(nil)
		o.queue[0] = nil
		o.queue, o.bytes, o.confirmed = o.queue[1:], o.bytes-len(s.payload), o.confirmed+1
	}
	o.change()
	return nil
}

// firmly returns how many frames the peer has confirmed.
func (o *outbox) firmly() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.confirmed
}

// resume returns the number of the frame to go on with where the peer has received so many.
func (o *outbox) resume(received uint64) (next uint64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if received > o.begun {
		return 0, fmt.Errorf("the peer has received %d frames; %d were sent", received, o.begun)
	}
	return max(received, o.confirmed) + 1, nil
}

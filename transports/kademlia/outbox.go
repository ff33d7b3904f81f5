package kademlia

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

// sending is a frame on its way to a peer, until that has taken it.
type sending struct {
	uuid    string
	payload []byte
	chain   *transports.Chain
	written bool // to some stream, at least in part: it cannot be taken back
	result  chan error
	detach  func() bool // stops waiting for the end of the message's context
}

// outbox holds the frames for one peer in their order until the peer has taken them. Its streams come and go: what a stream has left
// unconfirmed goes over the next one, but for what the peer has received already.
type outbox struct {
	session uint64 // of this process, so that the peer knows the numbers of another

	mu        sync.Mutex
	queue     []*sending
	bytes     int
	confirmed uint64        // number of the frame before the first of the queue
	changed   chan struct{} // closed and replaced when the queue gets longer or shorter
}

func newOutbox() *outbox { return &outbox{session: rand.Uint64(), changed: make(chan struct{})} }

var errBehind = errors.New("a frame before it was given up")

func (o *outbox) change() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// send queues a frame, waiting for room in the window. The channel gives what becomes of it.
func (o *outbox) send(m *message.Message) <-chan error {
	ctx := m.Context()
	s := &sending{uuid: m.UUID, payload: m.Payload, chain: transports.ChainOf(ctx), result: make(chan error, 1)}
	o.mu.Lock()
	defer o.mu.Unlock()
	err := unfit(m)
	for err == nil && len(o.queue) > 0 && (len(o.queue) >= windowFrames || o.bytes+len(s.payload) > windowBytes) {
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		o.mu.Lock()
		err = ctx.Err()
	}
	if err == nil {
		err = ctx.Err()
	}
	if s.chain.Broken() {
		err = errBehind
	}
	if err != nil {
		s.chain.Break()
		s.result <- err
		return s.result
	}
	o.queue = append(o.queue, s)
	o.bytes += len(s.payload)
	s.detach = context.AfterFunc(ctx, func() { o.giveUp(s, ctx.Err()) })
	o.change()
	return s.result
}

// giveUp fails a frame, and with it all behind it: none may be taken without those before it. What was written goes on to the peer,
// for it may have received it; nobody waits for it any more.
func (o *outbox) giveUp(s *sending, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := -1
	for i, q := range o.queue {
		if q == s {
			at = i
		}
	}
	if at < 0 {
		return
	}
	keep := o.queue[:at:at]
	for i, q := range o.queue[at:] {
		q.detach()
		q.chain.Break()
		if i > 0 {
			err = errBehind
		}
		select {
		case q.result <- err:
		default: // it failed before
		}
		if q.written {
			keep = append(keep, q)
			continue
		}
		o.bytes -= len(q.payload)
	}
	o.queue = keep
	o.change()
}

// fail fails everything: the node stops.
func (o *outbox) fail(err error) {
	o.mu.Lock()
	first := (*sending)(nil)
	if len(o.queue) > 0 {
		first = o.queue[0]
	}
	o.mu.Unlock()
	if first != nil {
		o.giveUp(first, err)
	}
}

// look returns the frame of a number, which is about to be written, or, while there is none, what is closed when that may have changed.
func (o *outbox) look(number uint64) (*sending, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if at := number - o.confirmed - 1; number > o.confirmed && at < uint64(len(o.queue)) {
		s := o.queue[at]
		s.written = true
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
	if until > o.confirmed+uint64(len(o.queue)) {
		return fmt.Errorf("the peer confirms frame %d; %d were sent", until, o.confirmed+uint64(len(o.queue)))
	}
	for o.confirmed < until {
		s := o.queue[0]
		if !s.written {
			return fmt.Errorf("the peer confirms frame %d, which was not sent", until)
		}
		s.detach()
		select {
		case s.result <- nil:
		default: // given up before
		}
		o.queue, o.bytes, o.confirmed = o.queue[1:], o.bytes-len(s.payload), o.confirmed+1
	}
	o.change()
	return nil
}

// deliver empties the outbox of a peer over one stream after the other until the transport is closed.
func (t *Transport) deliver(p *neighbour) {
	defer p.outbox.fail(errClosed)
	for wait := newBackoff(streamMin, streamMax); ; {
		some, changed := p.outbox.waiting()
		if !some {
			select {
			case <-changed:
				continue
			case <-t.ctx.Done():
				return
			}
		}
		if !p.awaitConnected(t.ctx) {
			return
		}
		before := p.outbox.firmly()
		err := t.deliverOver(p)
		if t.ctx.Err() != nil {
			return
		}
		p.note(err)
		t.log.Debug("stream to a peer has ended", "peer", p.name, "error", err)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			_ = t.host.Network().ClosePeer(p.id) // it may be dead without our knowing: the next stream needs another connection
		}
		if p.outbox.firmly() != before {
			wait.reset()
		}
		if !wait.sleep(t.ctx) {
			return
		}
	}
}

// Waits between one stream and the next.
const (
	streamMin = 100 * time.Millisecond
	streamMax = 5 * time.Second
)

// deliverOver sends what waits over one stream until that breaks.
func (t *Transport) deliverOver(p *neighbour) error {
	ctx, cancel := context.WithTimeout(t.ctx, stallTime)
	s, err := t.host.NewStream(limited(ctx), p.id, protocolDirect)
	cancel()
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	c := newConn(s)
	defer s.Reset()
	c.putNumber(p.outbox.session)
	c.putNumber(p.outbox.firmly())
	if err := errors.Join(c.flush(), c.within(stallTime)); err != nil {
		return err
	}
	received, err := c.number()
	if err != nil {
		return fmt.Errorf("the peer does not answer: %w", err)
	}
	next, err := p.outbox.resume(received)
	if err != nil {
		return err
	}
	p.note(nil)
	ctx, cancel = context.WithCancel(t.ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel() // ends the writing
		ended <- t.hear(p, c)
	}()
	err = t.write(ctx, p, c, next)
	_ = s.Reset() // ends hear
	return errors.Join(<-ended, unlessCanceled(err))
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
	if received > o.confirmed+uint64(len(o.queue)) {
		return 0, fmt.Errorf("the peer has received %d frames; %d were sent", received, o.confirmed+uint64(len(o.queue)))
	}
	return max(received, o.confirmed) + 1, nil
}

// write sends the frames from a number on until ctx ends or the stream breaks. Those that wait together leave together.
func (t *Transport) write(ctx context.Context, p *neighbour, c *conn, next uint64) error {
	for ; ; next++ {
		s, _ := p.outbox.look(next)
		if s == nil {
			err := errors.Join(c.within(stallTime), c.flush()) // the peer now owes an answer
			if err != nil {
				return err
			}
			if s, err = p.outbox.pending(ctx, next); err != nil {
				return err
			}
		}
		c.putBytes([]byte(s.uuid))
		c.putBytes(s.payload)
		t.status.bytesOut.Add(uint64(len(s.payload)))
	}
}

// hear takes the peer's confirmations until the stream breaks, or the peer owes one for longer than a heartbeat allows.
func (t *Transport) hear(p *neighbour, c *conn) error {
	for {
		until, err := c.number()
		if err != nil {
			return err
		}
		if err := p.outbox.confirm(until); err != nil {
			return err
		}
		patience := stallTime
		if some, _ := p.outbox.waiting(); !some {
			patience = 0
		}
		if err := c.within(patience); err != nil {
			return err
		}
	}
}

func unlessCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

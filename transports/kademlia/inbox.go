package kademlia

import (
	"context"
	"errors"
	"sync"
	"time"
)

// origin is where the direct frames of one peer wait until the subscriber has taken them. It outlives the streams that bring them: a
// sender that comes back on a new stream goes on where the last one broke off.
type origin struct {
	line *line

	turn chan struct{} // holds a token while one stream brings frames

	mu       sync.Mutex
	session  uint64        // of the sender's process
	received uint64        // frames of that session that are in the line, or were
	taken    uint64        // of them, in order
	reading  bool          // another one is on its way into the line
	news     chan struct{} // holds a token when taken has grown
	end      func()        // ends the stream that brings frames
}

func newOrigin() *origin {
	return &origin{line: newLine(), turn: make(chan struct{}, 1), news: make(chan struct{}, 1)}
}

// enter begins or goes on with a session, of which the sender says how many frames it knows to be taken, and returns how many of its
// frames were received.
func (o *origin) enter(session, confirmed uint64) (received uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if session != o.session || confirmed > o.received {
		o.session, o.received, o.taken = session, confirmed, confirmed
	}
	return o.received
}

// progress returns how many frames of the session were taken, and whether there are others.
func (o *origin) progress() (taken uint64, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.taken, o.reading || o.received > o.taken
}

func (o *origin) setReading(reading bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reading = reading
}

// onTaken returns what is to be done when a frame of the session has been taken.
func (o *origin) onTaken(session uint64) func() {
	return func() {
		o.mu.Lock()
		if o.session == session {
			o.taken++
		}
		o.mu.Unlock()
		select {
		case o.news <- struct{}{}:
		default:
		}
	}
}

// push puts a frame of the session into the line, and calls taken when the subscriber has taken it.
func (o *origin) push(ctx context.Context, session uint64, uuid, payload []byte, taken func()) error {
	note := o.onTaken(session)
	err := o.line.push(ctx, &item{uuid: string(uuid), payload: payload, taken: func() { note(); taken() }})
	if err == nil {
		o.mu.Lock()
		o.received++
		o.mu.Unlock()
	}
	return err
}

// heartbeat is how often a recipient says how far it is, while the sender waits for that.
const heartbeat = 5 * time.Second

// receive takes the frames of one stream until it ends. The peer is the one whose key the connection has proven.
func (t *Transport) receive(p *neighbour, c *conn) error {
	if err := c.within(stallTime); err != nil {
		return err
	}
	session, err := c.number()
	if err != nil {
		return err
	}
	confirmed, err := c.number()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	p.origin.supersede(func() { cancel(); _ = c.Reset() })
	select {
	case p.origin.turn <- struct{}{}:
		defer func() { <-p.origin.turn }()
	case <-ctx.Done(): // or the peer's later streams would wait behind this one
	}
	if ctx.Err() != nil {
		return errSuperseded
	}
	c.putNumber(p.origin.enter(session, confirmed))
	if err := c.flush(); err != nil {
		return err
	}
	var confirming sync.WaitGroup
	defer confirming.Wait()
	defer cancel()
	confirming.Go(func() { p.origin.confirm(ctx, t.taking, c, confirmed) })
	for {
		if err := c.await(); err != nil { // between frames it may be silent
			return err
		}
		p.origin.setReading(true)
		err := t.receiveFrame(ctx, p, c, session)
		p.origin.setReading(false)
		if err != nil {
			return err
		}
	}
}

// errSuperseded ends a stream after which the peer has opened another one.
var errSuperseded = errors.New("the peer has opened another stream")

// receiveFrame reads one frame, of which the first byte is there, and puts it into the line.
func (t *Transport) receiveFrame(ctx context.Context, p *neighbour, c *conn, session uint64) error {
	uuid, err := c.bytes(maxUUID)
	if err != nil {
		return noEOF(err)
	}
	size, err := c.size(maxFrame)
	if err != nil {
		return noEOF(err)
	}
	if err := t.room.Acquire(ctx, int64(size)); err != nil {
		return err
	}
	release := func() { t.room.Release(int64(size)) }
	payload, err := c.body(size)
	if err == nil {
		t.status.bytesIn.Add(uint64(size))
		err = p.origin.push(ctx, session, uuid, payload, release)
	}
	if err != nil {
		release()
	}
	return err
}

// supersede ends the stream that has brought frames so far: the peer has opened another one, so that one is dead, known or not.
func (o *origin) supersede(end func()) {
	o.mu.Lock()
	last := o.end
	o.end = end
	o.mu.Unlock()
	if last != nil {
		last()
	}
}

// confirm tells the sender how many of the session's frames were taken, whenever that is more than it knows, and while there are others
// from time to time that this node lives, until ctx ends. When taking ends, it says the last of it and closes its side, which the sender
// answers with the end of the stream once it has heard that.
func (o *origin) confirm(ctx, taking context.Context, c *conn, told uint64) {
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	for beat := false; ; {
		if taken, more := o.progress(); taken != told || beat && more {
			told = taken
			c.putNumber(told)
			if err := c.flush(); err != nil {
				_ = c.Reset() // ends receive
				return
			}
		}
		select {
		case <-o.news:
			beat = false
		case <-alive.C:
			beat = true
		case <-taking.Done():
			o.line.awaitIdle(ctx)
			told, _ = o.progress()
			c.putNumber(told)
			if errors.Join(c.flush(), c.CloseWrite()) != nil {
				_ = c.Reset()
			}
			return
		case <-ctx.Done():
			return
		}
	}
}

// partingTime is how long Close waits for senders to hear what was taken. Who does not sends it again.
const partingTime = time.Second

// awaitConfirmed waits until the streams that bring frames have ended, after taking has, and lets none begin.
func (t *Transport) awaitConfirmed() {
	timeout := time.NewTimer(partingTime)
	defer timeout.Stop()
	for _, p := range t.peers {
		select {
		case p.origin.turn <- struct{}{}:
		case <-timeout.C:
			return
		}
	}
}

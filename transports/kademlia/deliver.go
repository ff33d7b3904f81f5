package kademlia

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// deliver empties the outbox of a peer over one stream after the other until the transport is closed.
func (t *Transport) deliver(p *neighbour) {
	defer p.outbox.close(errClosed)
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
		if isTimeout(err) {
			_ = t.host.Network().ClosePeer(p.id) // it may be dead without our knowing: the next stream needs another connection
		}
		if p.outbox.firmly() > before {
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
	return t.deliverOn(p, newConn(s))
}

// deliverOn sends what waits over a stream that is open, until that breaks.
func (t *Transport) deliverOn(p *neighbour, c *conn) error {
	defer c.Reset()
	c.putNumber(p.outbox.session)
	c.putNumber(p.outbox.firmly())
	if err := errors.Join(c.flush(), c.within(stallTime)); err != nil {
		return err
	}
	received, err := c.number()
	if err != nil {
		if errors.Is(err, network.ErrReset) {
			return errors.New("the peer refuses frames of this node: its peers do not have this node's key, or it is overloaded")
		}
		return fmt.Errorf("the peer does not answer: %w", noEOF(err))
	}
	next, err := p.outbox.resume(received)
	if err != nil {
		return err
	}
	p.note(nil)
	ctx, cancel := context.WithCancelCause(t.ctx) // the first that fails says why
	var hearing sync.WaitGroup
	hearing.Go(func() {
		cancel(t.hear(p, c))
		_ = c.Reset() // ends write
	})
	cancel(t.write(ctx, p, c, next))
	_ = c.Reset() // ends hear
	hearing.Wait()
	return context.Cause(ctx)
}

// write sends the frames from a number on until ctx ends or the stream breaks. Those that wait together leave together.
func (t *Transport) write(ctx context.Context, p *neighbour, c *conn, next uint64) error {
	for ; ; next++ {
		s, _ := p.outbox.look(next)
		if s == nil {
			err := c.flush()
			if err != nil {
				return err
			}
			if s, err = p.outbox.pending(ctx, next); err != nil {
				return err
			}
		}
		if err := c.within(stallTime); err != nil { // the peer owes an answer from now on
			return err
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
			return noEOF(err)
		}
		if err := p.outbox.confirm(until); err != nil {
			return err
		}
		some, _ := p.outbox.waiting()
		if !some {
			if err := c.within(0); err != nil {
				return err
			}
			some, _ = p.outbox.waiting() // one that came meanwhile may have set its deadline before
		}
		if some {
			if err := c.within(stallTime); err != nil {
				return err
			}
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error // yamux's is no os.ErrDeadlineExceeded
	return errors.As(err, &timeout) && timeout.Timeout()
}

package kademlia

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/weft-relay/weft/transports"
)

// push shows the own profile to a peer that has connected: what it had of it, it may have lost meanwhile.
func (d *directory) push(p *neighbour) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.pushed = 0
	p.meetings++
	d.show(p)
}

// show shows the own profile to a connected peer until it has it, or is gone. It is called under the lock.
func (d *directory) show(p *neighbour) {
	if p.name == "" || p.pushing || !d.t.enter() {
		return
	}
	p.pushing = true
	go func() {
		defer d.t.work.Done()
		d.pushAll(p)
	}()
}

func (d *directory) pushAll(p *neighbour) {
	for wait := newBackoff(streamMin, streamMax); ; {
		d.mu.Lock()
		seq, signed, meetings := d.own.seq, d.signed, p.meetings
		if p.absent() || signed == nil || p.pushed == seq || d.t.ctx.Err() != nil {
			p.pushing = false // under the lock: what changes from now on is pushed by another
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		if err := d.pushOnce(p, seq, signed); err != nil {
			d.t.log.Debug("profile not shown to a peer", "peer", p.name, "error", err)
			var reset *network.StreamError
			if errors.As(err, &reset) && reset.Remote && reset.ErrorCode == notListed && p.noteRefusal(true) {
				d.t.log.Warn("peer is connected and refuses what this node says", "peer", p.name, "error", errRefused)
			}
			wait.sleep(d.t.ctx)
			continue
		}
		p.noteRefusal(false)
		d.mu.Lock()
		if p.meetings == meetings {
			p.pushed = seq
		}
		d.mu.Unlock()
	}
}

// pushOnce sends the record over a stream of its own. The peer answers with the number of the newest that it knows.
func (d *directory) pushOnce(p *neighbour, seq uint64, signed []byte) error {
	ctx, cancel := context.WithTimeout(d.t.ctx, stallTime)
	defer cancel()
	s, err := d.t.host.NewStream(limited(ctx), p.id, protocolProfile)
	if err != nil {
		return err
	}
	defer s.Reset()
	defer context.AfterFunc(d.t.ctx, func() { _ = s.Reset() })()
	c := newConn(s)
	c.putBytes(signed)
	if err := errors.Join(c.flush(), c.within(stallTime)); err != nil {
		return err
	}
	known, err := c.number()
	if err != nil {
		return err
	}
	if known > seq {
		return d.outbid(known)
	}
	_ = s.Close() // the answer says all: over QUIC this fails once the peer, which reads no further, has closed its end
	return nil
}

// outbid announces the own profile anew where a higher number of it is about: the clock was set back, or another node has this one's key.
func (d *directory) outbid(above uint64) error {
	if above > uint64(time.Now().Add(maxAhead).UnixMilli()) {
		return fmt.Errorf("a profile of this node is known with the number %d, which is more than %v ahead of the clock", above, maxAhead)
	}
	d.mu.Lock()
	profile := d.own.profile
	d.mu.Unlock()
	return d.announce(profile, above)
}

// yield shows whoever watches a newer own record than this process has announced, to announce something newer still.
func (d *directory) yield(found record) error {
	if found.profile == nil {
		return d.outbid(found.seq)
	}
	d.mu.Lock()
	d.own.seq = found.seq
	d.mu.Unlock()
	d.take(d.t.config.Node, found)
	return nil
}

// maxAhead is how far the number of a record, which is a time in milliseconds, may be ahead of the clock of who outbids it.
const maxAhead = 10 * 365 * 24 * time.Hour

// receive takes the profile of a peer over a stream of its own.
func (d *directory) receive(p *neighbour, c *conn) error {
	if err := c.within(stallTime); err != nil {
		return err
	}
	signed, err := c.bytes(transports.MaxProfile + maxRecord)
	if err != nil {
		return err
	}
	r, err := openRecord(p.id, signed)
	if err != nil {
		return err
	}
	c.putNumber(d.take(p.name, r))
	return c.flush()
}

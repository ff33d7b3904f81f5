package kademlia

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// catchUp fetches what the log has not, whenever something is missing, and asks now and then whether something is, until ctx ends. While
// the origin is away it looks for others that have the feed, less and less often.
func (f *followed) catchUp(ctx context.Context) {
	f.lack()
	for wait := newBackoff(dialMin, f.t.config.Refresh); ; {
		timer := time.NewTimer(f.t.config.Refresh/2 + rand.N(f.t.config.Refresh/2))
		select {
		case <-f.lacking:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
		if f.fetch(ctx) {
			wait.reset()
			continue
		}
		timer = time.NewTimer(wait.wait())
		select {
		case <-timer.C:
			f.lack()
		case <-f.lacking:
			f.lack()
			pause(ctx, streamMin) // what is asked for in vain does not end in a circle
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// fetch fetches all that can be had now, and reports whether the origin had nothing more.
func (f *followed) fetch(ctx context.Context) (done bool) {
	behind, away := false, f.peer.absent()
	for _, id := range f.sources(ctx) {
		switch {
		case ctx.Err() != nil:
			return true
		case away && !f.peer.absent():
			return false // it is asked first
		}
		state, err := f.fetchFrom(ctx, id)
		if err != nil {
			f.t.log.Debug("feed not fetched", "peer", f.peer.name, "from", id, "error", err)
			continue
		}
		if state == complete && id == f.peer.id {
			return true
		}
		behind = behind || state == trimmed && id == f.peer.id // anybody may say so, or have begun to follow late
	}
	if behind {
		f.skip()
	}
	return false
}

// What a node had of a feed.
type completeness int

const (
	complete completeness = iota // all that this one lacked, if anything
	trimmed                      // what this one lacks is gone there
	empty                        // nothing
)

// fetchFrom fetches from a node what the log has not.
func (f *followed) fetchFrom(ctx context.Context, id peer.ID) (completeness, error) {
	for {
		before := f.log.Next()
		state, more, err := f.ask(ctx, id, before)
		if err != nil || !more || f.log.Next() == before {
			return state, err
		}
	}
}

// ask takes one answer of a node, and says whether there is more.
func (f *followed) ask(ctx context.Context, id peer.ID, from uint64) (state completeness, more bool, err error) {
	ctx, cancel := context.WithTimeout(limited(ctx), stallTime)
	defer cancel()
	s, err := f.t.host.NewStream(ctx, id, protocolLog)
	if err != nil {
		return empty, false, err
	}
	defer s.Reset()
	defer context.AfterFunc(f.t.ctx, func() { _ = s.Reset() })()
	if id != f.peer.id {
		defer f.unlessBack(func() { _ = s.Reset() })()
	}
	c := newConn(s)
	c.putBytes([]byte(f.peer.id))
	c.putNumber(from)
	if err := errors.Join(c.flush(), c.within(stallTime)); err != nil {
		return empty, false, err
	}
	return f.hear(c, id, from)
}

// unlessBack calls end as soon as an origin that is away is back, so that nobody else holds up what that has by answering slowly, until the
// function that it returns is called.
func (f *followed) unlessBack(end func()) (stop func()) {
	connected, changed := f.peer.state()
	if connected {
		return func() {}
	}
	stopped := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-changed:
			end()
		case <-stopped:
		}
	})
	return func() { close(stopped); watching.Wait() }
}

// hear takes the answer of a node that was asked for the entries from a place on.
func (f *followed) hear(c *conn, id peer.ID, from uint64) (state completeness, more bool, err error) {
	var has struct{ epoch, first, next uint64 }
	if has.epoch, err = c.number(); err != nil || has.epoch == 0 {
		return empty, false, err
	}
	if has.first, err = c.number(); err == nil {
		has.next, err = c.number()
	}
	if err != nil {
		return empty, false, err
	}
	epoch := f.now().Epoch
	if has.epoch > epoch && id == f.peer.id { // nobody else can say where the feed is without showing an entry
		return complete, false, f.take(entry{place: place{has.epoch, max(has.next, 1)}})
	}
	for number, size := from, 0; ; number++ {
		raw, err := c.bytes(maxEntry)
		if err != nil {
			return empty, false, noEOF(err)
		}
		if len(raw) == 0 {
			break
		}
		if size += len(raw); size > maxAnswer && size > len(raw) {
			return empty, false, errTooLong
		}
		e, err := openEntry(f.peer.id, raw)
		if err != nil {
			return empty, false, err
		}
		if e.number != number || e.payload == nil { // it is the origin's, but not what was asked for
			return empty, false, fmt.Errorf("%w: place %d, not %d", errEntry, e.number, number)
		}
		if err := f.take(e); err != nil {
			return empty, false, err
		}
		f.fetched.Add(1)
	}
	next := f.log.Next()
	switch now := f.now().Epoch; {
	case has.epoch != now && has.epoch != epoch:
		return complete, has.epoch > now, nil
	case has.first > next:
		f.noteTrimmed(has.first)
		return trimmed, false, nil
	default:
		return complete, has.next > next, nil
	}
}

// noteTrimmed remembers the first entry that somebody still has.
func (f *followed) noteTrimmed(first uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.oldest == 0 || first < f.oldest {
		f.oldest = first
	}
}

// skip goes on with the first entry that anybody still has, once the origin has said that it has not what is missing, if the subscriber has
// taken all before the gap.
func (f *followed) skip() {
	f.taking.Lock()
	defer f.taking.Unlock()
	now, next := f.now(), f.log.Next()
	f.mu.Lock()
	first := f.oldest
	f.oldest = 0
	f.mu.Unlock()
	if first <= next || now.Next < next {
		return
	}
	if err := f.log.Reset(first); err != nil { // whoever reads finds the gap, and counts it
		f.t.log.Warn("feed is not kept", "peer", f.peer.name, "error", err)
		return
	}
	f.lack()
}

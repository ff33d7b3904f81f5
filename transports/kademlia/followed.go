package kademlia

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

type signer = crypto.PrivKey

// followed is the feed of a peer: a copy of its log, from which the frames go to the subscriber, and which others may fetch it from.
type followed struct {
	t    *Transport
	peer *neighbour
	line *line
	log  *feedlog.Log
	path string // of the position

	offered atomic.Int64 // when the directory was told last, in seconds

	topic  *pubsub.Topic
	taking sync.Mutex // held while the log gets longer, or begins anew

	lacking chan struct{} // holds a token when there are, or may be, entries that the log has not
	moved   chan struct{} // holds a token when the position has changed

	gaps    atomic.Uint64 // times that entries were missing
	fetched atomic.Uint64 // entries that gossip had not brought

	storing sync.Mutex // held while the position is written

	mu       sync.Mutex
	position position
	anew     bool   // the origin has begun anew, and the subscriber has not taken all that was before
	oldest   uint64 // the first entry that somebody still has, where the next one is gone; 0 where it is not
	missed   uint64 // entries that were gone before they could be had
}

func (t *Transport) openFollowed(p *neighbour) (*followed, error) {
	l, err := t.openLog(p.id)
	if err != nil {
		return nil, err
	}
	f := &followed{
		t: t, peer: p, line: newLine(), log: l, path: filepath.Join(t.feedDir(p.id), "position.json"),
		lacking: make(chan struct{}, 1), moved: make(chan struct{}, 1),
	}
	if err := f.load(); err != nil {
		return nil, fmt.Errorf("feed of %s: %w", p.name, err)
	}
	topic, err := t.feeds.join(p.id)
	if err != nil {
		return nil, err
	}
	f.topic = topic
	heard, err := topic.Subscribe()
	if err != nil {
		return nil, err
	}
	others, err := topic.EventHandler()
	if err != nil {
		return nil, err
	}
	t.work.Go(func() { f.meet(t.ctx, others) })
	t.work.Go(func() { f.listen(t.ctx, heard) })
	t.work.Go(func() { f.read(t.ctx) })
	t.work.Go(func() { f.catchUp(t.ctx) })
	t.work.Go(func() { f.save(t.ctx) })
	return f, nil
}

// lack looks for what the log has not.
func (f *followed) lack() {
	select {
	case f.lacking <- struct{}{}:
	default:
	}
}

// meet asks others that begin to listen to the feed for what they have of it, while the origin is away, until ctx ends.
func (f *followed) meet(ctx context.Context, others *pubsub.TopicEventHandler) {
	defer others.Cancel()
	for {
		e, err := others.NextPeerEvent(ctx)
		if err != nil {
			return
		}
		if e.Type == pubsub.PeerJoin && f.peer.absent() {
			f.lack()
		}
	}
}

// listen takes what gossip brings until ctx ends.
func (f *followed) listen(ctx context.Context, heard *pubsub.Subscription) {
	for {
		m, err := heard.Next(ctx)
		if err != nil {
			return
		}
		if e, ok := m.ValidatorData.(entry); ok {
			if err := f.take(e); err != nil {
				f.t.log.Warn("feed is not kept, and comes again", "peer", f.peer.name, "error", err)
			}
		}
	}
}

// take appends an entry that the origin has signed, if it is the next one. If others are missing before it, they are looked for.
func (f *followed) take(e entry) error {
	f.taking.Lock()
	defer f.taking.Unlock()
	now := f.now()
	if e.epoch < now.Epoch {
		return nil // of a log that its origin has lost
	}
	if e.epoch > now.Epoch {
		if f.postpone() {
			return nil
		}
		if err := f.begin(now, e.place); err != nil {
			return err
		}
	}
	switch next := f.log.Next(); {
	case e.number < next:
		return nil
	case e.number > next || e.payload == nil:
		f.gaps.Add(1)
		f.lack()
		return nil
	}
	_, err := f.log.Append(e.raw)
	return err
}

// postpone reports whether the subscriber has not taken yet all that was before the origin began anew. What is new is looked for then.
func (f *followed) postpone() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.anew = f.position.Epoch != 0 && f.position.Next < f.log.Next()
	return f.anew
}

// begin begins a feed that is new to this node: with what is published from now on, where it was never followed, and else, because its
// origin has begun anew, with its first entry.
func (f *followed) begin(last position, now place) error {
	next := uint64(1)
	if last.Epoch == 0 {
		next = now.number
	}
	if err := f.log.Reset(next); err != nil {
		return err
	}
	f.moveTo(position{now.epoch, next})
	if err := f.store(); err != nil { // before any entry of it is kept: a restart would take them for those of the last log, or of none
		return fmt.Errorf("position: %w", err)
	}
	f.t.directory.wake() // there is a feed to tell it of
	return nil
}

// read takes the frames from the log to the subscriber until ctx ends.
func (f *followed) read(ctx context.Context) {
	var at position
	for {
		changed := f.log.Changed()
		if now := f.now(); at.Epoch != now.Epoch || at.Next < now.Next {
			at = now
		}
		e, err := f.entryAt(&at)
		switch {
		case err == nil:
			payload := e.payload
			if f.line.push(ctx, &item{uuid: e.uuid, payload: payload, taken: func() { f.taken(e.place) }}) != nil {
				return
			}
			f.t.status.bytesIn.Add(uint64(len(payload)))
			at.Next++
			continue
		case !errors.Is(err, feedlog.ErrNotYet):
			f.t.log.Warn("feed cannot be read", "peer", f.peer.name, "error", err)
		default:
			f.refetch(at)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// refetch begins the log again at the position where all from there on is lost to damage, so that it is fetched anew.
func (f *followed) refetch(at position) {
	f.taking.Lock()
	defer f.taking.Unlock()
	if at.Epoch == 0 || at.Epoch != f.now().Epoch || at.Next >= f.log.Next() {
		return
	}
	if _, err := f.log.Read(at.Next); !errors.Is(err, feedlog.ErrNotYet) {
		return // it has come meanwhile
	}
	if err := f.log.Reset(at.Next); err != nil {
		f.t.log.Warn("feed is not kept", "peer", f.peer.name, "error", err)
		return
	}
	f.lack()
}

// entryAt returns the entry of the position, or of the first after it that the log has.
func (f *followed) entryAt(at *position) (entry, error) {
	if at.Epoch == 0 {
		return entry{}, feedlog.ErrNotYet
	}
	raw, err := f.log.Read(at.Next)
	if errors.Is(err, feedlog.ErrGone) {
		first := f.log.First()
		f.miss(first - at.Next)
		at.Next = first
		raw, err = f.log.Read(first)
	}
	if err != nil {
		return entry{}, err
	}
	return openEntry(f.peer.id, raw)
}

// miss counts entries that were gone before they could be taken.
func (f *followed) miss(count uint64) {
	f.mu.Lock()
	f.missed += count
	f.mu.Unlock()
	f.t.log.Warn("frames of a feed were missed: they are gone everywhere, or this node takes them too slowly; a larger log (bytes, age) keeps more", "peer", f.peer.name, "frames", count)
}

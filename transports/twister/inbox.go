package twister

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// The daemon's lists of direct messages are ordered by the senders' clocks, and a place in one is no identity: what comes late is put
// in the middle. But a list only grows. So each poll asks for the newest entry of each, whose place tells the length, and where a
// list has grown, for as many entries as it takes to have seen that many new ones.
const (
	everything = 1 << 30 // entries

	// readAllEvery is how often whole lists are read though they have not grown as far as this side can tell.
	readAllEvery = 10 * time.Minute

	// manyPosts are so many that a receipt spends one rather than have the sender's lane wait.
	manyPosts = 1000
)

// list is what is known of the daemon's list of one peer. Only the goroutine that polls uses it.
type list struct {
	length  int       // entries that were looked at, -1 before the first poll of a session
	own     kset      // ks of one's own entries that were
	read    time.Time // when all of it was
	starved bool      // an entry had no room
}

// poll reads what has come, as long as the session lasts.
func (t *Transport) poll(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := t.daemon.await(ctx)
		if err != nil {
			return
		}
		lists := map[string]*list{}
		for _, user := range t.users {
			lists[user] = &list{length: -1, own: kset{most: maxSeen}}
		}
		for s.ctx.Err() == nil {
			if err := t.pollOnce(s.ctx, lists); err != nil && s.ctx.Err() == nil {
				t.complain(err)
				t.daemon.suspect()
			}
			pause(s.ctx, t.config.Poll)
		}
	}
}

// complain says that messages are not read. What does not pass by itself needs a person, who is told once an hour.
func (t *Transport) complain(err error) {
	level := slog.LevelDebug
	if errors.Is(err, rpc.ErrAnswerTooLarge) && time.Since(t.complained) > time.Hour {
		t.complained = time.Now()
		level = slog.LevelWarn
	}
	t.log.Log(context.Background(), level, "twister direct messages not read", slog.Any("error", err))
}

// pollOnce looks at all lists. One that cannot be read keeps no other from being read.
func (t *Transport) pollOnce(ctx context.Context, lists map[string]*list) error {
	if len(t.users) == 0 {
		return nil
	}
	ranges := make([]rpc.Range, len(t.users))
	for i, user := range t.users {
		ranges[i] = rpc.Range{User: user}
	}
	newest, err := t.client.DirectMessages(ctx, t.config.User, 1, ranges...)
	if err != nil {
		return err
	}
	var errs []error
	for _, user := range t.users {
		length := 0
		if entries := newest[user]; len(entries) > 0 {
			length = entries[len(entries)-1].ID + 1
		}
		if err := t.readList(ctx, t.peers[user], lists[user], length); err != nil {
			errs = append(errs, fmt.Errorf("from %s: %w", user, err))
		}
	}
	return errors.Join(errs...)
}

// readList takes in what is new in a list of that length.
func (t *Transport) readList(ctx context.Context, p *peer, l *list, length int) error {
	count := 2*(length-l.length) + 8
	switch {
	case l.starved && p.origin.crowded():
		return nil
	case l.starved, l.length < 0, length < l.length, time.Since(l.read) > readAllEvery:
		count = everything
	case length == l.length:
		return nil
	}
	l.starved = false
	for fresh := 0; ; count *= 2 {
		answer, err := t.client.DirectMessages(ctx, t.config.User, count, rpc.Range{User: p.user})
		if err != nil {
			return err
		}
		entries := answer[p.user]
		if l.length < 0 {
			p.origin.passConfirmed(entries)
		}
		fresh += t.readEntries(p, l, entries)
		length = 0
		if len(entries) > 0 {
			length = entries[len(entries)-1].ID + 1
		}
		whole := len(entries) >= length
		if whole || l.length+fresh >= length {
			l.length = length
			if whole {
				l.read = time.Now()
			}
			return nil
		}
	}
}

// readEntries takes in those that were not looked at, in the order in which they were sent, and returns how many those were.
func (t *Transport) readEntries(p *peer, l *list, entries []rpc.Message) int {
	now, fresh := time.Now(), 0
	for _, m := range slices.SortedStableFunc(slices.Values(entries), func(a, b rpc.Message) int { return a.K - b.K }) {
		switch {
		case m.FromMe:
			if l.own.add(m.K) {
				fresh++
			}
		case m.From == p.user && p.origin.fresh(m.K):
			fresh++
			if l.starved && !isPiece(m.Text) { // it would come before the one that had no room
				continue
			}
			if !p.origin.read(m, now, p.outbox.receive) {
				l.starved = true
			}
		}
	}
	return fresh
}

// keep looks at everything that time brings about: receipts, what is posted again, positions.
func (t *Transport) keep(ctx context.Context) {
	tick := time.NewTicker(t.config.Poll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.savePositions()
			return
		}
		t.savePositions()
		now, plenty := time.Now(), t.poster.budget().Left >= manyPosts
		for _, p := range t.peers {
			p.origin.expire(now)
			p.outbox.tick(now)
			if text, done := p.origin.receipt(now, plenty); text != nil {
				t.poster.enqueue(t.ctx, post{to: p.user, text: text, receipt: true}, done)
			}
		}
	}
}

func (t *Transport) positionsPath() string { return statePath(t.config, "inbox.json") }

// savePositions keeps how far the origins have come, if that has changed.
func (t *Transport) savePositions() {
	positions, dirty := maps.Clone(t.strangers), false
	for user, p := range t.peers {
		position, changed := p.origin.position()
		positions[user] = position
		dirty = dirty || changed
	}
	if !dirty {
		return
	}
	err := saveState(t.positionsPath(), positions)
	for user, p := range t.peers {
		p.origin.kept(positions[user], err == nil)
	}
	if err != nil && !errors.Is(err, t.saveFailed) {
		t.log.Error("twister positions are not kept: messages may come twice after a restart", slog.Any("error", err))
	}
	t.saveFailed = err
}

func (t *Transport) loadPositions() error {
	positions := map[string]position{}
	if err := loadState(t.positionsPath(), &positions); err != nil {
		return err
	}
	for user, position := range positions {
		if p := t.peers[user]; p != nil {
			p.origin.restore(position)
			delete(positions, user)
		}
	}
	t.strangers = positions
	return nil
}

package kademlia

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/weft-relay/weft/transports"
)

// position is how far the subscriber has taken a feed.
type position struct {
	Epoch uint64 `json:"epoch"` // 0 while nothing is known of the feed
	Next  uint64 `json:"next"`  // the first entry that is not taken
}

// load reads the position. One that is damaged begins with what the log still has: what comes twice is known by its number.
func (f *followed) load() error {
	text, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if json.Unmarshal(text, &f.position) == nil {
		return nil
	}
	f.t.log.Warn("how far a feed was taken is not known any more; what its log has comes again, and is taken for a repetition", "peer", f.peer.name)
	if raw, err := f.log.Read(f.log.First()); err == nil {
		if e, err := openEntry(f.peer.id, raw); err == nil {
			f.position = position{e.epoch, e.number}
		}
	}
	return nil
}

// now returns the position.
func (f *followed) now() position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.position
}

// place returns how far this node is with the feed.
func (f *followed) place() *transports.FeedPlace {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &transports.FeedPlace{First: f.log.First(), Next: f.log.Next(), Taken: f.position.Next, Missed: f.missed}
}

func (f *followed) moveTo(p position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.position = p
	f.touch()
}

func (f *followed) touch() {
	select {
	case f.moved <- struct{}{}:
	default:
	}
}

// taken moves the position behind an entry.
func (f *followed) taken(at place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at.epoch == f.position.Epoch && at.number >= f.position.Next {
		f.position.Next = at.number + 1
		f.touch()
	}
	if f.anew && f.position.Next >= f.log.Next() {
		f.anew = false
		f.lack()
	}
}

// saveEvery is how often the position is written, at most. What was taken since comes again after a crash, and is taken for a repetition.
const saveEvery = time.Second

// save writes the position when it has changed, until ctx ends.
func (f *followed) save(ctx context.Context) {
	for {
		select {
		case <-f.moved:
		case <-ctx.Done():
			return
		}
		if err := f.store(); err != nil {
			f.t.log.Warn("how far a feed was taken is not kept for the next start", "peer", f.peer.name, "error", err)
		}
		pause(ctx, saveEvery)
	}
}

// store writes the position.
func (f *followed) store() error {
	f.storing.Lock()
	defer f.storing.Unlock()
	text, err := json.Marshal(f.now())
	if err != nil {
		return err
	}
	return writeFile(f.path, text)
}

package twister

import (
	"context"
	"slices"
	"sync"
)

// turns lets one at a time: of those who wait the one with the highest priority goes next, and of those who waits longest.
type turns struct {
	mu      sync.Mutex // guards all that follows
	taken   bool
	waiting []*turn // in the order in which they go
}

type turn struct {
	priority int
	come     chan struct{} // closed when it is his
}

// take returns when it is the caller's turn, who gives it back, or with the error of ctx.
func (t *turns) take(ctx context.Context, priority int) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t.mu.Lock()
	if !t.taken {
		t.taken = true
		t.mu.Unlock()
		return nil
	}
	mine := &turn{priority, make(chan struct{})}
	at := len(t.waiting)
	if i := slices.IndexFunc(t.waiting, func(w *turn) bool { return w.priority < priority }); i >= 0 {
		at = i
	}
	t.waiting = slices.Insert(t.waiting, at, mine)
	t.mu.Unlock()
	select {
	case <-mine.come:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.waiting, mine)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 { // it came meanwhile
		t.give()
	}
	return ctx.Err()
}

// give ends a turn.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.taken = false
		return
	}
	close(t.waiting[0].come)
	t.waiting = t.waiting[1:]
}

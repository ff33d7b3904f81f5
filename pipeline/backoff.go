package pipeline

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
)

// backoff is the wait before the next attempt: it doubles, with jitter, so that what failed together does not return together.
type backoff struct{ next time.Duration }

func newBackoff() backoff { return backoff{backoffMin} }

// sleep waits and reports whether ctx is still alive.
func (b *backoff) sleep(ctx context.Context) bool { return b.sleepUntil(ctx, nil) }

// sleepUntil is sleep that ends early when the channel is closed.
func (b *backoff) sleepUntil(ctx context.Context, early <-chan struct{}) bool {
	wait := b.next/2 + rand.N(b.next/2)
	b.next = min(2*b.next, backoffMax)
	return pause(ctx, wait, early)
}

// pause waits, or until the channel is closed, and reports whether ctx is still alive.
func pause(ctx context.Context, wait time.Duration, early <-chan struct{}) bool {
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-early:
		return true
	case <-ctx.Done():
		return false
	}
}

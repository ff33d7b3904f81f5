package twister

import (
	"context"
	"time"
)

// wake holds a token when the goroutine that sleeps on it is to look again at once.
type wake chan struct{}

func newWake() wake { return make(wake, 1) }

func (w wake) up() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// sleep waits for the delay, for the token, or until ctx ends.
func (w wake) sleep(ctx context.Context, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-w:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// pause waits for the delay or until ctx ends.
func pause(ctx context.Context, delay time.Duration) { wake(nil).sleep(ctx, delay) }

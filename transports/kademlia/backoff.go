package kademlia

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is the wait before the next attempt: it doubles, with jitter, so that what failed together does not return together.
type backoff struct{ least, most, next time.Duration }

func newBackoff(least, most time.Duration) *backoff { return &backoff{least, most, least} }

func (b *backoff) reset() { b.next = b.least }

// wait returns how long to wait now.
func (b *backoff) wait() time.Duration {
	wait := b.next/2 + rand.N(b.next/2)
	b.next = min(2*b.next, b.most)
	return wait
}

// sleep waits and reports whether ctx is still alive.
func (b *backoff) sleep(ctx context.Context) bool { return pause(ctx, b.wait()) }

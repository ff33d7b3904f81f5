package twister

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Do the bounds hold the registration, whatever was posted when, and meet at the first refusal that follows an acceptance?
func TestBoundsHoldTheRegistration(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		registration := 1 + rng.IntN(1000)
		var b bounds
		height, next := registration+1+rng.IntN(50), 0
		for range 200 {
			ceiling := perBlock*(height-registration) + freePosts
			k := next + rng.IntN(3)
			if k <= ceiling {
				b.accepted(height, k)
				next = k + 1
			} else {
				b.refused(height-rng.IntN(2), k) // as of a height that may have grown since
				height += rng.IntN(3)
			}
			require.True(t, b.Low <= registration && (b.High == 0 || registration <= b.High), "%+v, registered at %d", b, registration)
			require.LessOrEqual(t, b.left(height, next, 0), max(0, perBlock*(height-registration)+freePosts-next+1))
		}
	}
	var b bounds
	b.accepted(100, 60) // at most 80
	require.False(t, b.met())
	b.refused(100, 61) // after 79.5
	require.Equal(t, bounds{80, 80}, b)
	require.True(t, b.met())
	b.registered(70)
	require.Equal(t, 2*30+20-10-61+1, b.left(100, 61, 10))
}

func TestPostsAreTriedUntilTheRegistrationIsKnown(t *testing.T) {
	b, now := budget{margin: 10}, time.Now()
	b.block(100, now)
	require.Zero(t, b.wait(60, now))
	b.accept(100, 60, now)
	require.Zero(t, b.wait(61, now))
	b.refuse(100, 61)
	require.Negative(t, b.wait(61, now), "nothing but a block helps")
	b.block(101, now)
	require.Negative(t, b.wait(61, now), "the margin is kept now that it is known where it begins")
	b.block(106, now)
	require.GreaterOrEqual(t, b.wait(61, now), time.Duration(0))
	require.Equal(t, Budget{Used: 61, Left: 2, Known: true, Refill: b.refill(), Height: 106}, b.report(61))
}

func TestTheLessIsLeftTheSlowerItIsSpent(t *testing.T) {
	b, now := budget{}, time.Now()
	b.registered(100)
	b.block(200, now)
	b.accept(200, 0, now)
	b.registered(100)
	require.Zero(t, b.wait(221-smooth, now))
	last := time.Duration(0)
	for left := smooth - 1; left >= 1; left-- {
		wait := b.wait(221-left, now)
		require.Greater(t, wait, last)
		last = wait
	}
	require.LessOrEqual(t, last, b.refill())
	require.Negative(t, b.wait(221, now), "none is left")
	require.Zero(t, b.wait(220, now.Add(b.refill())))
}

func TestRefillIsMeasured(t *testing.T) {
	b, now := budget{}, time.Now()
	require.Equal(t, blockTime/2, b.refill())
	for i := range 30 {
		b.block(100+i, now.Add(time.Duration(i)*time.Minute))
	}
	require.Equal(t, 30*time.Second, b.refill())
	for i := range 30 { // what a daemon that was off fetches when it is back
		b.block(200+10*i, now.Add(time.Duration(i)*time.Second))
	}
	require.Equal(t, blockTime/2, b.refill())
}

// A million pieces of frames that never become whole take no more memory than a sender may.
func TestMillionFragmentsAreBounded(t *testing.T) {
	o := newOrigin("mallory", Config{ResendAfter: time.Minute}, newStatus(quietLog()))
	rng := rand.New(rand.NewPCG(1, 1))
	data, now := make([]byte, pieceSize), time.Now()
	for k := range 1_000_000 {
		p := &piece{epoch: 1, number: 1 + rng.IntN(200), index: rng.IntN(maxPieces - 1), count: maxPieces, data: data}
		p.unreceipted = rng.IntN(2) == 0
		o.take(p, k, now)
	}
	require.LessOrEqual(t, o.held, maxHeld)
	require.LessOrEqual(t, len(o.frames), 2*maxAhead)
	require.LessOrEqual(t, len(o.seen.ks), maxSeen)
	require.LessOrEqual(t, len(o.done.ks), maxDone)
	ks := 0
	for _, a := range o.frames {
		ks += len(a.ks)
	}
	require.LessOrEqual(t, ks, 8*maxAhead*maxPieces)
}

func TestSetOfKsForgetsTheLowest(t *testing.T) {
	s := kset{most: 8}
	for _, k := range []int{5, 3, 9, 3} {
		s.add(k)
	}
	require.True(t, s.has(3))
	require.False(t, s.has(4))
	restored := kset{most: 8}
	restored.restore(s.floor, s.runs())
	require.Equal(t, s, restored)
	for k := range 100 {
		s.add(k)
	}
	require.LessOrEqual(t, len(s.ks), 8)
	require.True(t, s.has(0), "what is forgotten counts as known")
	require.False(t, s.has(100))
	require.Equal(t, 99, s.highest())
}

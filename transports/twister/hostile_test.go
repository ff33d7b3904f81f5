package twister

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A sender says that all before a number far away are done with. What does it cost to say in a receipt what is here?
func TestReceiptIsAsSmallHoweverFarASenderSkips(t *testing.T) {
	o, now := newOrigin(alice, Config{ResendAfter: time.Second}, newStatus(quietLog())), time.Now()
	const far = 1 << 24
	o.take(&piece{epoch: 1, number: 1, count: 1, data: []byte("x"), asks: true}, 0, now)
	o.mu.Lock()
	o.finish(o.ready[0], now)
	o.mu.Unlock()
	o.take(&piece{epoch: 1, number: far, count: 2, data: make([]byte, pieceSize)}, 1, now)
	require.Equal(t, far-1, o.taken)
	var r *receipt
	require.Less(t, testing.AllocsPerRun(1, func() { r = o.statement() }), 1000.0)
	require.LessOrEqual(t, len(r.view.frames), maxAhead)
}

// Each receipt of a later start has all frames posted again. How many posts do a thousand of them cost?
func TestReceiptsOfLaterStartsHaveAllPostedAgainOnce(t *testing.T) {
	o := newOutbox(bob, Config{User: alice, Receipts: receiptsOn, ResendAfter: time.Hour}, newStatus(quietLog()))
	posts := 0
	o.post = func(m post, done func(int, error)) {
		m.text(posts)
		done(posts, nil)
		posts++
	}
	o.ride = func() *receipt { return nil }
	o.epoch = 1
	o.publish(t.Context(), "uuid", make([]byte, 10*pieceSize), 0)
	require.Equal(t, 10, posts)
	now := time.Now()
	require.False(t, o.receive(&receipt{epoch: 5}, now), "it confirms nothing")
	for i := range 1000 {
		require.True(t, o.receive(&receipt{epoch: uint32(10 + 10*i), number: 1}, now))
	}
	require.Equal(t, 20, posts)
	require.EqualValues(t, 12, o.epoch)
	o.receive(&receipt{epoch: 1 << 20, number: 1}, now.Add(time.Hour))
	require.Equal(t, 30, posts)
}

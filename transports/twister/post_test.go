package twister

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// started returns the poster of a transport that runs against a daemon of its own.
func started(t *testing.T) (*twistertest.Network, *poster) {
	t.Helper()
	n, err := twistertest.New(twistertest.Options{})
	require.NoError(t, err)
	t.Cleanup(n.Close)
	d, err := n.Daemon("a")
	require.NoError(t, err)
	_, err = n.Daemon("b") // whom to be connected to
	require.NoError(t, err)
	require.NoError(t, d.Register("alice"))
	n.Mine(5)
	transport, err := New(Config{URL: d.URL(), User: "alice", DataDir: t.TempDir(), Poll: time.Millisecond, Second: time.Millisecond}, quietLog())
	require.NoError(t, err)
	require.NoError(t, transport.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, transport.Close()) })
	return n, transport.poster
}

func says(text string) func(int) string { return func(int) string { return text } }

func TestPublicPostReturnsItsK(t *testing.T) {
	_, p := started(t)
	for want := range 3 {
		k, err := p.post(t.Context(), post{text: says("news")})
		require.NoError(t, err)
		require.Equal(t, want, k)
	}
}

func TestPostThatIsNotWantedAnyMoreCostsNothing(t *testing.T) {
	_, p := started(t)
	k, err := p.post(t.Context(), post{text: says("")})
	require.NoError(t, err)
	require.Equal(t, -1, k)
	k, err = p.post(t.Context(), post{text: says("news")})
	require.NoError(t, err)
	require.Zero(t, k)
}

func TestWaitingPostEndsWithItsContextAndSaysWhy(t *testing.T) {
	n, p := started(t)
	p.registered(n.Height())
	p.use(100) // more than that allows
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := p.post(ctx, post{text: says("never")})
		ended <- err
	}()
	require.Eventually(t, func() bool { return p.trouble() != nil }, 10*time.Second, time.Millisecond)
	cancel()
	err := <-ended
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, rpc.ErrBudgetSpent)
}

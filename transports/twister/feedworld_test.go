package twister

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// feedWorld is alice, who publishes, and bob, who follows; both daemons follow both.
type feedWorld struct {
	*twistertest.Network
	atAlice, atBob *twistertest.Daemon
	alice, bob     Config
}

func newFeedWorld(t testing.TB) *feedWorld {
	t.Helper()
	w := &feedWorld{}
	w.Network, w.atAlice, w.atBob = twoTwisterds(t)
	require.NoError(t, w.atAlice.Follow(alice, alice, bob))
	require.NoError(t, w.atBob.Follow(bob, bob, alice))
	w.atAlice.Save()
	w.atBob.Save()
	w.alice, w.bob = testConfig(t, w.atAlice, alice, bob), testConfig(t, w.atBob, bob, alice)
	return w
}

func feedOf(t testing.TB, n *Transport) <-chan *message.Message {
	t.Helper()
	feed, err := n.Subscribe(t.Context(), transports.Feed)
	require.NoError(t, err)
	return feed
}

// reads returns when the feed reads from then on.
func reads(t testing.TB, n *Transport, peer string) {
	t.Helper()
	eventually(t, peer+" is read", func() bool {
		n.feed.mu.Lock()
		defer n.feed.mu.Unlock()
		return n.feed.kept[peer].Began
	})
}

func tellAll(t testing.TB, n *Transport, messages ...*message.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, m := range messages {
		m.SetContext(ctx)
	}
	require.NoError(t, n.Publish(transports.Broadcast, messages...))
}

func numberedFrame(i int) *message.Message {
	return message.NewMessage(fmt.Sprintf("frame-%d", i), fmt.Appendf(nil, "frame %d", i))
}

func next(t testing.TB, feed <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-feed:
		require.True(t, ok, "closed")
		return m
	case <-time.After(30 * time.Second):
		require.FailNow(t, "nothing comes")
	}
	return nil
}

func comes(t testing.TB, feed <-chan *message.Message, payloads ...string) {
	t.Helper()
	for _, want := range payloads {
		m := next(t, feed)
		require.Equal(t, want, string(m.Payload))
		require.Equal(t, alice, m.Metadata.Get(transports.MetaFrom))
		m.Ack()
	}
}

func postText(t testing.TB, at *twistertest.Daemon, user string, k int, text string) {
	t.Helper()
	_, err := newClient(t, at).PublicPost(t.Context(), user, k, text)
	require.NoError(t, err)
}

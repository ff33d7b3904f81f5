package twister

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

func TestRefusedAndUnacknowledgedFramesComeAgain(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	tellAll(t, a, numberedFrame(1), numberedFrame(2))
	first := next(t, feed)
	first.Nack()
	again := next(t, feed)
	require.Equal(t, "frame 1", string(again.Payload))
	require.Equal(t, first.UUID, again.UUID)
	require.NoError(t, b.Close())
	<-again.Context().Done()
	b, _ = open(t, w.bob)
	comes(t, feedOf(t, b), "frame 1", "frame 2")
}

// What was posted before a peer is followed is history, also where the daemon fetches it only then.
func TestFirstFollowBeginsWithWhatComesThen(t *testing.T) {
	for _, fetched := range []bool{true, false} {
		var past atomic.Int64 // seconds
		past.Store(3600)
		n := newNetwork(t, twistertest.Options{Now: func() time.Time { return time.Now().Add(-time.Duration(past.Load()) * time.Second) }})
		atAlice, atBob := newTwisterd(t, n, "a"), newTwisterd(t, n, "b")
		require.NoError(t, atAlice.Register(alice))
		require.NoError(t, atBob.Register(bob))
		n.Mine(100)
		require.NoError(t, atAlice.Follow(alice, alice))
		require.NoError(t, atBob.Follow(bob, bob, alice))
		postText(t, atAlice, alice, 0, "history/0: x [mqtt]")
		if !fetched {
			n.Partition(atAlice, atBob)
		}
		postText(t, atAlice, alice, 1, "history/1: x [mqtt]")
		b, _ := open(t, testConfig(t, atBob, bob, alice))
		b.feed.pace.first = time.Hour
		feed := feedOf(t, b)
		reads(t, b, alice)
		n.Heal(atAlice, atBob)
		past.Store(0)
		postText(t, atAlice, alice, 2, "news: x [mqtt]")
		require.Equal(t, "news", next(t, feed).Metadata.Get(transports.MetaTopic))
	}
}

// Posts that nobody signed, that carry another user's, and that are not of the peer at all.
func TestPromotedRetwistedAndOthersPostsAreLeftOut(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	r := b.feed.follow(alice, time.Now())
	const text = `{"topic": "a", "payload": "", "qos": 0}`
	for _, p := range []rpc.Post{
		{Sig: "20", Name: alice, K: 1, Text: text, Foreign: true},
		{Sig: "20", Name: alice, K: 2, Direct: true},
		{Sig: "20", Name: alice, K: 3, Text: "talk"},
	} {
		require.True(t, r.read(t.Context(), p, nil), "nothing is delivered, which would block")
		require.Equal(t, p.K, r.k)
	}
	postText(t, w.atAlice, alice, 0, text) // and with the first that is read the daemon answers a promoted one
	m := next(t, feed)
	require.Equal(t, alice+"-0", m.UUID)
	m.Ack()
}

// A message that came between the parts of a frame does not come again after a restart.
func TestPositionBehindAFrameThatIsNotWholeKnowsWhatCameSince(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	require.NoError(t, a.Close())
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	texts := split(bytes.Repeat([]byte("x"), 3000), false, "large")
	require.Len(t, texts, 2)
	postText(t, w.atAlice, alice, 0, texts[0])
	postText(t, w.atAlice, alice, 1, "doors/1: empty [mqtt]")
	comes(t, feed, "empty")
	require.NoError(t, b.Close())
	postText(t, w.atAlice, alice, 2, texts[1])
	postText(t, w.atAlice, alice, 3, "doors/1: full [mqtt]")
	b, _ = open(t, w.bob)
	comes(t, feedOf(t, b), strings.Repeat("x", 3000), "full")
}

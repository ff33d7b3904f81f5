package kademlia_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// broadcast publishes the frames of the origin from one number to another, each with some filling.
func broadcast(t *testing.T, origin *kademlia.Transport, name string, from, to, filling int) {
	t.Helper()
	for n := from; n <= to; n++ {
		m := message.NewMessage(fmt.Sprintf("%s-%d", name, n), fmt.Appendf(nil, "%s %d %s", name, n, strings.Repeat("x", filling)))
		m.SetContext(t.Context())
		require.NoError(t, origin.Publish(transports.Broadcast, m))
	}
}

// heard takes the frames of the origin from one number to another, and nothing else between.
func heard(t *testing.T, frames <-chan *message.Message, name string, from, to int) {
	t.Helper()
	timeout := time.After(patience)
	for n := from; n <= to; n++ {
		select {
		case m := <-frames:
			words := strings.Fields(string(m.Payload))
			require.Equal(t, []string{name, fmt.Sprint(n)}, words[:2])
			require.Equal(t, fmt.Sprintf("%s-%d", name, n), m.UUID)
			m.Ack()
		case <-timeout:
			t.Fatalf("frame %d of %s never came", n, name)
		}
	}
}

// follows waits until a node knows where the feed of another is.
func follows(t *testing.T, node *kademlia.Transport, origin string) {
	t.Helper()
	eventually(t, "the feed of "+origin+" is followed", func() bool { return place(node, origin).Taken > 0 })
}

func place(node *kademlia.Transport, origin string) transports.FeedPlace {
	for _, p := range node.Mesh().Peers {
		if p.Peer == origin && p.Feed != nil {
			return *p.Feed
		}
	}
	return transports.FeedPlace{}
}

func TestFollowerBeginsWithWhatIsPublishedFromThenOn(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	broadcast(t, alice, "alice", 1, 3, 0)
	bob := start(t, m.node(t, "bob", "alice"))
	frames := subscribe(t, bob, transports.Feed)
	follows(t, bob, "alice")
	broadcast(t, alice, "alice", 4, 6, 0)
	heard(t, frames, "alice", 4, 6)
}

func TestFollowerThatWasAwayGetsWhatItMissed(t *testing.T) {
	m := newMesh(t)
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob", "alice"))
	frames := subscribe(t, bob, transports.Feed)
	follows(t, bob, "alice")
	broadcast(t, alice, "alice", 1, 5, 0)
	heard(t, frames, "alice", 1, 5)
	require.NoError(t, bob.Close())
	broadcast(t, alice, "alice", 6, 300, 0)
	require.NoError(t, alice.Close()) // and its log outlives the process
	alice = start(t, m.node(t, "alice"))
	frames = subscribe(t, start(t, m.node(t, "bob", "alice")), transports.Feed)
	heard(t, frames, "alice", 6, 300)
	broadcast(t, alice, "alice", 301, 303, 0)
	heard(t, frames, "alice", 301, 303)
}

func TestFollowerCatchesUpFromAnotherWhileTheOriginIsAway(t *testing.T) {
	for _, tt := range []struct {
		name  string
		peers []string // whom bob and carol list
	}{
		{"that it lists", []string{"alice", "bob", "carol"}},
		{"that it has never heard of", []string{"alice"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMesh(t)
			alice := start(t, m.node(t, "alice"))
			m.names = tt.peers
			bob, carol := start(t, m.node(t, "bob", "alice")), start(t, m.node(t, "carol", "alice"))
			atBob, atCarol := subscribe(t, bob, transports.Feed), subscribe(t, carol, transports.Feed)
			follows(t, bob, "alice")
			follows(t, carol, "alice")
			broadcast(t, alice, "alice", 1, 2, 0)
			heard(t, atBob, "alice", 1, 2)
			heard(t, atCarol, "alice", 1, 2)
			require.NoError(t, carol.Close())
			broadcast(t, alice, "alice", 3, 40, 0)
			heard(t, atBob, "alice", 3, 40)
			eventually(t, "the directory knows that bob follows", func() bool { return bob.Offered("alice") })
			require.NoError(t, alice.Close())
			heard(t, subscribe(t, start(t, m.node(t, "carol", "alice")), transports.Feed), "alice", 3, 40)
		})
	}
}

// A feed that is new to a node is news for the directory; its profile is none.
func TestProfileIsPutIntoTheDirectoryOnce(t *testing.T) {
	m := newMesh(t)
	bob := start(t, m.node(t, "bob", "alice", "carol"))
	require.NoError(t, bob.Announce(t.Context(), []byte("profile")))
	announced := func() float64 { return metric(bob.Metrics(), lookups, "announce") }
	eventually(t, "the directory has the profile", func() bool { return announced() > 0 })
	start(t, m.node(t, "alice"))
	eventually(t, "the directory knows that bob follows alice", func() bool { return bob.Offered("alice") })
	require.EqualValues(t, 1, announced())
	require.NoError(t, bob.Announce(t.Context(), []byte("another profile")))
	eventually(t, "the directory has the new profile", func() bool { return announced() > 1 })
}

func TestFrameThatIsTooLargeForGossipIsFetched(t *testing.T) {
	m := newMesh(t)
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob", "alice"))
	frames := subscribe(t, bob, transports.Feed)
	follows(t, bob, "alice")
	broadcast(t, alice, "alice", 1, 1, 0)
	broadcast(t, alice, "alice", 2, 3, 10<<20)
	broadcast(t, alice, "alice", 4, 4, 0)
	heard(t, frames, "alice", 1, 4)
}

// What is kept of a feed has a limit: a follower that was away for longer goes on with what there is, and says how much it missed.
func TestWhatIsGoneEverywhereIsCounted(t *testing.T) {
	m := newMesh(t)
	m.log.Bytes = 1 << 20
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob", "alice"))
	frames := subscribe(t, bob, transports.Feed)
	follows(t, bob, "alice")
	broadcast(t, alice, "alice", 1, 2, 0)
	heard(t, frames, "alice", 1, 2)
	require.NoError(t, bob.Close())
	broadcast(t, alice, "alice", 3, 102, 50_000)
	bob = start(t, m.node(t, "bob", "alice"))
	frames = subscribe(t, bob, transports.Feed)
	first := <-frames
	var number int
	_, err := fmt.Sscanf(string(first.Payload), "alice %d", &number)
	require.NoError(t, err)
	require.Greater(t, number, 3)
	first.Ack()
	heard(t, frames, "alice", number+1, 102)
	require.EqualValues(t, number-3, place(bob, "alice").Missed)
}

func TestFeedBeginsAnewWhereItsOriginHasLostTheLog(t *testing.T) {
	m := newMesh(t)
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob", "alice"))
	frames := subscribe(t, bob, transports.Feed)
	follows(t, bob, "alice")
	broadcast(t, alice, "alice", 1, 5, 0)
	heard(t, frames, "alice", 1, 5)
	require.NoError(t, alice.Close())
	require.NoError(t, os.RemoveAll(filepath.Join(m.dirs["alice"], "feeds")))
	alice = start(t, m.node(t, "alice"))
	broadcast(t, alice, "alice", 6, 7, 0)
	heard(t, frames, "alice", 6, 7)
}

func TestSlowSubscriberGetsTheWholeFeed(t *testing.T) {
	m := newMesh(t)
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob", "alice"))
	frames := subscribe(t, bob, transports.Feed)
	follows(t, bob, "alice")
	broadcast(t, alice, "alice", 1, 500, 1000) // more than gossip keeps for who does not listen
	heard(t, frames, "alice", 1, 500)
}

// The clock was set back between one beginning of the log and the next: followers take only what is later.
func TestTheEpochOfALaterLogIsHigherWhateverTheClockSays(t *testing.T) {
	m := newMesh(t)
	node := m.node(t, "alice")
	require.NoError(t, os.MkdirAll(m.feedDir(t, "alice", "alice"), 0o700))
	before := uint64(time.Now().Add(time.Hour).UnixMilli())
	require.NoError(t, os.WriteFile(filepath.Join(m.feedDir(t, "alice", "alice"), "epoch"), strconv.AppendUint(nil, before, 10), 0o600))
	start(t, node)
	require.Greater(t, m.epochOf(t, "alice"), before)
}

// Bob has a frame in hand when alice begins anew: does it get what she publishes from then on once it has taken that?
func TestWhatFollowsOnANewBeginningComesOnceTheOldIsTaken(t *testing.T) {
	m := newMesh(t)
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob", "alice"))
	frames := subscribe(t, bob, transports.Feed)
	follows(t, bob, "alice")
	broadcast(t, alice, "alice", 1, 2, 0)
	heard(t, frames, "alice", 1, 1)
	last := receive(t, frames)
	require.NoError(t, alice.Close())
	require.NoError(t, os.RemoveAll(filepath.Join(m.dirs["alice"], "feeds")))
	alice = start(t, m.node(t, "alice"))
	gossip := func() float64 { return metric(bob.Metrics(), "mesh_gossip_messages_total", "new") }
	before := gossip()
	broadcast(t, alice, "alice", 3, 3, 0)
	eventually(t, "bob hears alice", func() bool { return gossip() > before })
	before = gossip()
	broadcast(t, alice, "alice", 4, 4, 0)
	eventually(t, "bob has heard the last notice", func() bool { return gossip() >= before+2 })
	last.Ack()
	heard(t, frames, "alice", 3, 3)
	var at struct{ Epoch uint64 }
	text, err := os.ReadFile(filepath.Join(m.feedDir(t, "bob", "alice"), "position.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &at))
	require.Equal(t, m.epochOf(t, "alice"), at.Epoch, "before a frame is taken for one of the old beginning")
	heard(t, frames, "alice", 4, 4)
}

// The end of the copy of a feed is damaged on the disk before the subscriber has taken it. The origin has it still.
func TestWhatIsDamagedOfACopyIsFetchedAgain(t *testing.T) {
	m := newMesh(t)
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob", "alice"))
	frames := subscribe(t, bob, transports.Feed)
	follows(t, bob, "alice")
	broadcast(t, alice, "alice", 1, 5, 1000)
	heard(t, frames, "alice", 1, 2)
	eventually(t, "bob has all", func() bool { return place(bob, "alice").Next == 6 })
	require.NoError(t, bob.Close())
	segments, err := filepath.Glob(filepath.Join(m.feedDir(t, "bob", "alice"), "*.seg"))
	require.NoError(t, err)
	require.Len(t, segments, 1)
	info, err := os.Stat(segments[0])
	require.NoError(t, err)
	require.NoError(t, os.Truncate(segments[0], info.Size()*3/4))
	bob = start(t, m.node(t, "bob", "alice"))
	heard(t, subscribe(t, bob, transports.Feed), "alice", 3, 5)
	require.Zero(t, place(bob, "alice").Missed)
}

// An entry without a name would be a notice, which nobody can pass.
func TestFrameWithoutANameIsRefused(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	for _, topic := range []string{transports.Broadcast, transports.Direct("bob")} {
		frame := message.NewMessage("", []byte("frame"))
		frame.SetContext(t.Context())
		require.True(t, transports.IsPermanent(alice.Publish(topic, frame)), topic)
	}
}

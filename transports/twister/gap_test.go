package twister

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// seedOf is a public post whose payload is "1" or "2".
func seedOf(payload string) string {
	return `{"topic": "a", "payload": "` + map[string]string{"1": "MQ==", "2": "Mg=="}[payload] + `", "qos": 0}`
}

func TestPostOnItsWayIsWaitedForSoThatOrderIsKept(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	b.feed.pace.gap = time.Hour
	feed := feedOf(t, b)
	postText(t, w.atAlice, alice, 0, "talk")
	reads(t, b, alice)
	w.SetLoss(1, false)
	postText(t, w.atAlice, alice, 1, `{"topic": "a", "payload": "MQ==", "qos": 0}`)
	w.SetLoss(0, false)
	postText(t, w.atAlice, alice, 2, `{"topic": "a", "payload": "Mg==", "qos": 0}`)
	w.Heal(w.atAlice, w.atBob)
	comes(t, feed, "1", "2")
}

func TestPostThatNeverComesIsPassedAndCounted(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	b.feed.pace.stuck = b.feed.pace.gap
	feed := feedOf(t, b)
	reads(t, b, alice)
	w.SetLoss(1, true)
	postText(t, w.atAlice, alice, 3, `{"topic": "a", "payload": "MQ==", "qos": 0}`)
	w.SetLoss(0, false)
	postText(t, w.atAlice, alice, 4, `{"topic": "a", "payload": "Mg==", "qos": 0}`)
	comes(t, feed, "2")
	require.EqualValues(t, 1, b.Report().Dropped[dropNoPost])
}

// The k between two public posts went to a direct message.
func TestDirectMessagesAreNoGap(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	b.feed.pace.gap = time.Hour
	feed := feedOf(t, b)
	reads(t, b, alice)
	client := newClient(t, w.atAlice)
	for k := range 20 {
		if k%5 == 4 {
			postText(t, w.atAlice, alice, k, fmt.Sprintf(`{"topic": "a", "payload": "%c%c==", "qos": 0}`, 'A'+k, 'A'))
			continue
		}
		_, err := client.DirectMessage(t.Context(), alice, k, bob, fmt.Sprint("message ", k))
		require.NoError(t, err)
	}
	for range 4 {
		next(t, feed).Ack()
	}
}

// A line that is down for longer than a post is waited for.
func TestMissingPostIsNotGivenUpWhileNobodyCanBringIt(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	postText(t, w.atAlice, alice, 0, "talk")
	reads(t, b, alice)
	w.SetLoss(1, false)
	postText(t, w.atAlice, alice, 1, seedOf("1"))
	w.SetLoss(0, false)
	postText(t, w.atAlice, alice, 2, seedOf("2"))
	w.Partition(w.atAlice, w.atBob)
	s, err := b.daemon.await(t.Context())
	require.NoError(t, err)
	r := b.feed.follow(alice, time.Now())
	r.k = 0
	looks := 0
	until := time.Now().Add(2 * r.pace.gap)
	eventually(t, "it was looked at for long enough", func() bool {
		pass, err := r.passGap(s, 2)
		require.NoError(t, err)
		require.False(t, pass)
		looks++
		return time.Now().After(until)
	})
	require.Greater(t, looks, 2)
	w.Heal(w.atAlice, w.atBob)
	comes(t, feed, "1", "2")
}

// A node that was killed has left a number unused, and goes on posting: something of it is under way at any time.
func TestNumberThatWasNeverUsedIsPassedWhileLaterPostsAreOnTheirWay(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	b.feed.pace.stuck = time.Hour
	feed := feedOf(t, b)
	postText(t, w.atAlice, alice, 0, "talk")
	reads(t, b, alice)
	postText(t, w.atAlice, alice, 2, seedOf("2"))
	w.SetLoss(1, true)
	postText(t, w.atAlice, alice, 3, "talk")
	torrent, _, err := newClient(t, w.atBob).TorrentStatus(t.Context(), alice)
	require.NoError(t, err)
	require.False(t, torrent.CaughtUp())
	comes(t, feed, "2")
}

// The gap that a new session finds may be one that it closes.
func TestGapIsMeasuredAnewInEachSession(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	s, err := b.daemon.await(t.Context())
	require.NoError(t, err)
	r := b.feed.follow(alice, time.Now())
	long := time.Now().Add(-time.Hour)
	r.gap = gap{session: s, here: long, there: long}
	pass, err := r.passGap(s, 2)
	require.NoError(t, err)
	require.True(t, pass)
	r.gap = gap{session: &session{}, here: long, there: long}
	pass, err = r.passGap(s, 2)
	require.NoError(t, err)
	require.False(t, pass)
}

// What is behind the gap is a direct message, which does not tell of the public post before it.
func TestLostPostBeforeADirectMessageIsCounted(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	b.feed.pace.stuck = b.feed.pace.gap
	feed := feedOf(t, b)
	postText(t, w.atAlice, alice, 0, "talk")
	reads(t, b, alice)
	w.SetLoss(1, true)
	postText(t, w.atAlice, alice, 1, seedOf("1"))
	w.SetLoss(0, false)
	_, err := newClient(t, w.atAlice).DirectMessage(t.Context(), alice, 2, bob, "talk")
	require.NoError(t, err)
	postText(t, w.atAlice, alice, 3, seedOf("2"))
	comes(t, feed, "2")
	require.EqualValues(t, 1, b.Report().Dropped[dropNoPost])
}

// The daemon comes long after the subscription, and fetches what there was only then.
func TestHistoryEndsByTheSessionAndNotByTheSubscription(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	s, err := b.daemon.await(t.Context())
	require.NoError(t, err)
	r := b.feed.follow("carol", time.Now().Add(-time.Hour))
	r.start(0)
	old := rpc.Post{Name: "carol", Time: r.at.Since - 1}
	require.True(t, r.isHistory(old))
	r.pace.first = time.Hour
	require.NoError(t, r.endHistory(s))
	require.True(t, r.isHistory(old), "the session is young")
	r.pace.first = 0
	require.NoError(t, r.endHistory(s))
	require.True(t, r.isHistory(old), "nobody is connected who has what carol has posted")
	eventually(t, "there is no history to come of who is caught up with", func() bool {
		a := b.feed.follow(alice, time.Now())
		a.at.Since = time.Now().Unix()
		require.NoError(t, a.endHistory(s))
		return a.at.Since == 0
	})
}

package twister

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// sendTo has a message taken by the daemon, for a transport without receipts.
func sendTo(t testing.TB, n *Transport, to, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	m := message.NewMessage("uuid-"+text, []byte(text))
	m.SetContext(ctx)
	require.NoError(t, n.Publish(transports.Direct(to), m))
}

// Does what the user posts by hand while weft runs cost a message?
func TestPostByHandDuringASessionTakesNoK(t *testing.T) {
	w := newFeedWorld(t)
	w.alice.Receipts = "off"
	a, _ := open(t, w.alice)
	sendTo(t, a, bob, "zero")
	postText(t, w.atAlice, alice, 1, "by hand")
	eventually(t, "it is noticed", func() bool { return a.poster.budget().Used == 2 })
	eventually(t, "it is told", func() bool { return strings.Contains(a.Report().Detail, errOthers.Error()) })
	sendTo(t, a, bob, "one")
	b, _ := open(t, w.bob)
	inbox, err := b.Subscribe(t.Context(), transports.Inbox)
	require.NoError(t, err)
	comes(t, inbox, "zero", "one")
}

func TestOwnPostsAreNotThoseOfSomebodyElse(t *testing.T) {
	w := newFeedWorld(t)
	w.alice.Receipts = "off"
	a, log := open(t, w.alice)
	for i := range 200 { // while the daemon is looked at all the time
		a.daemon.suspect()
		sendTo(t, a, bob, fmt.Sprint(i))
	}
	require.Zero(t, log.count(errOthers.Error()))
}

// The folder is new, and the daemon was killed and has fallen behind what others have of its user's posts.
func TestFreshFolderWaitsForADaemonThatFellBehind(t *testing.T) {
	w := newFeedWorld(t)
	for k := range 4 {
		postText(t, w.atAlice, alice, k, fmt.Sprint("talk ", k))
	}
	w.atAlice.Save()
	for k := 4; k < 10; k++ {
		_, err := newClient(t, w.atAlice).DirectMessage(t.Context(), alice, k, bob, fmt.Sprint("talk ", k)) // of which the DHT knows nothing
		require.NoError(t, err)
	}
	w.Partition(w.atAlice, w.atBob)
	w.atAlice.Kill()
	require.NoError(t, w.atAlice.Start())
	d := watch(t, w.atAlice, w.alice, func(d *daemon) {
		d.k = func() (int, bool) { return -1, false }
		d.pace.settle = time.Hour
	})
	d.says(t, transports.Connecting, "nothing is kept here")
	w.Heal(w.atAlice, w.atBob)
	require.Equal(t, 9, d.ready(t).lastHave)
}

// The DHT may know of a later post than the daemon.
func TestFreshFolderTakesTheGreaterOfTheTwoKs(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	postText(t, atAlice, alice, 2, "x")
	atAlice.Save()
	postText(t, atAlice, alice, 4, "x")
	atAlice.Kill()
	require.NoError(t, atAlice.Start())
	d := watch(t, atAlice, testConfig(t, atAlice, alice), func(d *daemon) { d.k = func() (int, bool) { return -1, false } })
	s := d.ready(t)
	require.Equal(t, 4, s.lastHave)
	require.Equal(t, 2, s.have)
}

// What was only reserved when weft was killed was never posted: nothing is waited for.
func TestReservedKsAreNotMissedAfterACrash(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	at := newTwisterd(t, n, "a")
	require.NoError(t, at.Register(alice))
	require.NoError(t, at.Register(bob))
	n.Mine(100)
	postText(t, at, alice, 0, "talk")
	c := testConfig(t, at, alice, bob)
	c.Receipts = "off"
	p := newPoster(c, nil, quietLog())
	require.NoError(t, makeFolder(c))
	p.saw(0)
	require.NoError(t, p.save(17)) // and killed
	client := newClient(t, at)
	again := newPoster(c, client, quietLog())
	require.NoError(t, again.load())
	d := watch(t, at, c, func(d *daemon) {
		d.k = again.last
		d.pace.settle = time.Hour
	})
	require.Equal(t, 0, d.ready(t).lastHave)
	require.Zero(t, d.log.count("lacks posts"), "%s", d.log)
	require.Equal(t, 17, again.next)
}

// In one box nobody else has anything to give back.
func TestFreshFolderInOneBoxWaitsForNobody(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	at := newTwisterd(t, n, "a")
	require.NoError(t, at.Register(alice))
	require.NoError(t, at.Register(bob))
	n.Mine(100)
	d := watch(t, at, testConfig(t, at, alice, bob), func(d *daemon) {
		d.k = func() (int, bool) { return -1, false }
		d.pace.settle = time.Hour
	})
	require.Equal(t, -1, d.ready(t).lastHave)
}

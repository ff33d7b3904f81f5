package twister_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister"
	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

func TestSpentPostsAreWaitedForAndNothingIsLost(t *testing.T) {
	w := newPoorWorld(t, twistertest.Options{}, "alice", "bob")
	sent := record(t, w.daemons["alice"])
	margin := func(c *twister.Config) { c.Margin = 1 }
	alice, bob := w.node(t, "alice", sent.through, margin), w.node(t, "bob", margin)
	got := gatherFrom(subscribe(t, bob))
	const count = 40
	var frames []*message.Message
	for i := range count {
		frames = append(frames, frame(i))
	}
	published := make(chan error, 1)
	go func() {
		var err error
		for _, m := range frames {
			if err == nil {
				err = send(t.Context(), alice, "bob", m)
			}
		}
		published <- err
	}()
	require.Eventually(t, func() bool { return budget(alice).Exact }, patience, time.Millisecond, "it finds where the posts end")
	require.LessOrEqual(t, len(sent.taken()), 23)
	spent := frame(1000)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	spent.SetContext(ctx)
	require.ErrorIs(t, alice.Publish(transports.Direct("bob"), spent), rpc.ErrBudgetSpent)
	w.Mine(100)
	require.NoError(t, <-published)
	all := got.all()
	require.Equal(t, count+1, len(all))
	require.Empty(t, sent.twice())
	require.Positive(t, budget(alice).Left)
}

func TestHigherPriorityGoesFirstWhenPostsAreShort(t *testing.T) {
	w := newPoorWorld(t, twistertest.Options{}, "alice", "bob", "carol")
	sent := record(t, w.daemons["alice"])
	dir := filepath.Join(w.dirs, "alice")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "poster.json"), []byte(`{"next": 100}`), 0o600))
	alice := w.node(t, "alice", sent.through)
	give := func(to string, number, priority int) {
		m := frame(number)
		m.Metadata.Set(transports.MetaPriority, fmt.Sprint(priority))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		m.SetContext(ctx)
		require.Error(t, alice.Publish(transports.Direct(to), m))
	}
	for i := range 5 {
		give("carol", i, -1)
		give("bob", 10+i, 7)
		give("carol", 20+i, 0)
	}
	require.Empty(t, sent.taken())
	w.Mine(200)
	require.Eventually(t, func() bool { return len(sent.taken()) >= 15 }, patience, time.Millisecond)
	require.Equal(t, strings.Repeat("bob ", 5), strings.Join(sent.taken()[:5], " ")+" ")
}

// The k that a crash may have used is not used again, and a close keeps it to the post.
func TestKGoesOnAfterARestart(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	sent := record(t, w.daemons["alice"])
	bob := w.node(t, "bob")
	gatherFrom(subscribe(t, bob))
	for i := range 3 {
		alice := w.node(t, "alice", sent.through)
		publish(t, alice, "bob", frame(i))
		require.NoError(t, alice.Close())
		require.Equal(t, i+1, budget(alice).Used, "no k is wasted")
	}
	alice := w.node(t, "alice", sent.through)
	w.daemons["alice"].Kill() // its own k falls back
	require.NoError(t, w.daemons["alice"].Start())
	publish(t, alice, "bob", frame(3))
	require.Empty(t, sent.twice())
}

func TestKOfTheDaemonIsTakenWhereItIsAhead(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	client, err := rpc.New(rpc.Config{URL: w.daemons["alice"].URL()})
	require.NoError(t, err)
	require.NoError(t, w.daemons["alice"].Follow("alice", "alice"))
	_, err = client.PublicPost(t.Context(), "alice", 41, "by hand")
	require.NoError(t, err)
	alice, bob := w.node(t, "alice"), w.node(t, "bob")
	gatherFrom(subscribe(t, bob))
	publish(t, alice, "bob", frame(1))
	require.Equal(t, 43, budget(alice).Used)
}

func TestUnknownRecipientIsToldAtOnce(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	alice := w.node(t, "alice", func(c *twister.Config) { c.Peers = append(c.Peers, "ghost") })
	m := frame(1)
	m.SetContext(t.Context())
	err := alice.Publish(transports.Direct("ghost"), m)
	require.ErrorIs(t, err, rpc.ErrNoSuchUser)
	require.False(t, transports.IsPermanent(err), "it may be registered yet")
	err = alice.Publish(transports.Direct("stranger"), frame(2))
	require.ErrorContains(t, err, "not one of this node's peers")
}

// Whatever a peer posts, what others send arrives.
func TestHostilePeerIsCountedAndBounded(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob", "mallory")
	alice, bob := w.node(t, "alice"), w.node(t, "bob")
	got := gatherFrom(subscribe(t, bob))
	client, err := rpc.New(rpc.Config{URL: w.daemons["mallory"].URL()})
	require.NoError(t, err)
	k := 0
	dm := func(text string) {
		_, err := client.DirectMessage(t.Context(), "mallory", k, "bob", text)
		require.NoError(t, err)
		k++
	}
	dm("hello")
	dm("w1:")
	dm("w1:" + strings.Repeat("\x7f", 1600))
	dm(`{"topic": "a", "payload": "`)
	valid := twister.PieceText(k, 1, 1, 0, 1, []byte("valid"))
	dm(valid)
	dm(valid) // replayed as another post; in the same second the daemon itself keeps one
	dm(valid[:len(valid)-2])
	for i := range 150 { // never whole
		dm(twister.PieceText(k, 1, 2, i, twister.MaxPieces, nil))
	}
	dm(twister.PieceText(k, 1, 3, 0, 1, []byte("behind what is never whole")))
	dm(twister.PieceText(k, 1, 40, 0, 1, []byte("too far ahead")))
	var running sync.WaitGroup
	for i := range 10 {
		running.Go(func() { _ = send(t.Context(), alice, "bob", frame(i)) })
	}
	running.Wait()
	require.Eventually(t, func() bool { return len(got.all()) == 11 }, patience, time.Millisecond)
	require.Contains(t, got.all(), "valid")
	require.NotContains(t, got.all(), "behind what is never whole")
	require.Eventually(t, func() bool {
		dropped := bob.Report().Dropped
		return dropped["malformed"] >= 3 && dropped["foreign"] == 2 && dropped["too_many"] == 1
	}, 10*time.Second, time.Millisecond)
	require.Less(t, len(w.posts(t, "bob")), 40, "receipts are not had by posting rubbish")
}

func TestWithoutReceiptsTheDaemonsWordIsTaken(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	off := func(c *twister.Config) { c.Receipts = "off" }
	alice := w.node(t, "alice", off)
	publish(t, alice, "bob", frame(0), frame(1), frame(2)) // nobody is there
	bob := w.node(t, "bob")
	got := gatherFrom(subscribe(t, bob))
	publish(t, alice, "bob", frame(3))
	require.Eventually(t, func() bool { return len(got.all()) == 4 }, patience, time.Millisecond)
	inOrder(t, got.all(), 4, 1)
	require.NoError(t, bob.Close())
	require.Empty(t, w.posts(t, "bob"), "no receipts")
}

// A crash wastes few ks and uses none again; what was taken does not come again, and what was not does.
func TestCrashUsesNoKAgain(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	sent := record(t, w.daemons["alice"])
	bob := w.node(t, "bob")
	got := gatherFrom(subscribe(t, bob))
	const crashes, each = 3, 7
	for crash := range crashes {
		alice := w.transport(t, "alice", sent.through)
		require.NoError(t, alice.Start(t.Context()))
		for i := range each {
			publish(t, alice, "bob", frame(crash*each+i))
		}
		used, image := budget(alice).Used, filepath.Join(w.dirs, fmt.Sprint("crash", crash))
		require.NoError(t, os.CopyFS(image, os.DirFS(filepath.Join(w.dirs, "alice")))) // what a crash would leave now
		require.NoError(t, alice.Close())
		require.NoError(t, os.RemoveAll(filepath.Join(w.dirs, "alice")))
		require.NoError(t, os.Rename(image, filepath.Join(w.dirs, "alice")))
		require.LessOrEqual(t, used, (crash+1)*each+crash*16)
	}
	inOrder(t, got.all(), crashes*each, 1)
	require.Empty(t, sent.twice())
}

// budget is what the transport says of its posts: nothing before the first session.
func budget(t *twister.Transport) transports.Posts {
	if p := t.Report().Posts; p != nil {
		return *p
	}
	return transports.Posts{}
}

package twister

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// A crash in the middle of the call must find on disk that the k may have been used.
func TestKIsOnDiskBeforeTheDaemonIsCalled(t *testing.T) {
	w := newFeedWorld(t)
	w.alice.Receipts = "off"
	kept := make(chan posterState, 10)
	w.atAlice.SetFault(func(method string) twistertest.Fault {
		if method == "newdirectmsg" {
			var state posterState
			if loadState(statePath(w.alice, "poster.json"), &state) == nil {
				kept <- state
			}
		}
		return twistertest.NoFault
	})
	a, _ := open(t, w.alice)
	for k, text := range []string{"zero", "one", "two", "three"} {
		sendTo(t, a, bob, text)
		require.Greater(t, (<-kept).Next, k)
	}
}

// What a receipt covers the sender never sends again: it must not be forgotten by a crash.
func TestReceiptSaysNoMoreThanIsOnDisk(t *testing.T) {
	o, now := newOrigin(alice, Config{ResendAfter: time.Second}, newStatus(quietLog())), time.Now()
	takeOne := func(number int) {
		o.take(&piece{epoch: 1, number: number, count: 1, data: []byte("x")}, number, now)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.finish(o.ready[0], now)
	}
	takeOne(1)
	require.Nil(t, o.ride(), "nothing is on disk")
	p, changed := o.position()
	require.True(t, changed)
	o.kept(p, false)
	require.Nil(t, o.ride(), "it could not be written")
	o.kept(p, true)
	takeOne(2)
	require.Equal(t, 1, o.ride().number)
	r := o.statement()
	require.Equal(t, 1, r.number)
	require.Equal(t, []partial{{number: 2}}, r.view.frames, "but that it is here")
}

// A lane waits for the receipt of each frame.
func TestReceiptWaitsForAFrameOnlyWherePostsAreFew(t *testing.T) {
	for _, plenty := range []bool{false, true} {
		c := Config{ResendAfter: time.Hour, ReceiptDelay: 10 * time.Second, Poll: time.Second}
		o, now := newOrigin(alice, c, newStatus(quietLog())), time.Now()
		o.take(&piece{epoch: 1, number: 1, count: 1, data: []byte("x")}, 1, now)
		o.mu.Lock()
		o.finish(o.ready[0], now)
		o.mu.Unlock()
		goes := func(after time.Duration) bool {
			text, _ := o.receipt(now.Add(after), plenty)
			return text != nil
		}
		require.False(t, goes(time.Second/2))
		require.Equal(t, plenty, goes(time.Second))
		require.Equal(t, !plenty, goes(10*time.Second), "one at a time")
	}
}

// Else the sender's lane stands still until he asks, which is after ResendAfter.
func TestReceiptThatWasOwedIsOwedAfterARestart(t *testing.T) {
	c := Config{ResendAfter: time.Hour, ReceiptDelay: time.Second, Poll: time.Second}
	o, now := newOrigin(alice, c, newStatus(quietLog())), time.Now()
	restart := func() *origin {
		p, changed := o.position()
		require.True(t, changed)
		o.kept(p, true)
		again := newOrigin(alice, c, newStatus(quietLog()))
		again.restore(p)
		return again
	}
	o.take(&piece{epoch: 1, number: 1, count: 1, data: []byte("x")}, 1, now)
	o.mu.Lock()
	o.finish(o.ready[0], now)
	o.mu.Unlock()
	o = restart()
	text, done := o.receipt(time.Now(), false)
	require.NotNil(t, text)
	require.NotEmpty(t, text(1))
	done(1, nil)
	text, _ = restart().receipt(time.Now().Add(c.ReceiptDelay), false)
	require.Nil(t, text, "it was posted")
}

func TestWhatWasDoneWithIsSoAfterARestart(t *testing.T) {
	o := newOrigin(alice, Config{}, newStatus(quietLog()))
	for _, k := range []int{1, 2, 7} {
		o.ignore(k)
	}
	p, _ := o.position()
	again := newOrigin(alice, Config{}, newStatus(quietLog()))
	again.restore(p)
	for k, fresh := range map[int]bool{0: true, 1: false, 2: false, 3: true, 7: false, 8: true} {
		require.Equal(t, fresh, again.fresh(k), "k %d", k)
	}
}

// The daemon lists messages of one second in reverse.
func TestEntriesOfAListAreReadInTheOrderOfTheirKs(t *testing.T) {
	n, err := New(Config{User: bob, Peers: []string{alice}, URL: "http://a:b@127.0.0.1:1", DataDir: t.TempDir()}, quietLog())
	require.NoError(t, err)
	o := n.peers[alice].origin
	var entries []rpc.Message
	for _, k := range []int{3, 1, 2, 0} {
		entries = append(entries, rpc.Message{From: alice, K: k, Text: seedOf("1")})
	}
	n.readEntries(n.peers[alice], &list{own: kset{most: maxSeen}}, entries)
	require.Len(t, o.ready, 4)
	for k, it := range o.ready {
		require.Equal(t, []int{k}, it.ks)
	}
}

func TestUserWhomTheNodeHasRegisteredHasAnExactBudget(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	at := newTwisterd(t, n, "a")
	newTwisterd(t, n, "b")
	c := testConfig(t, at, alice)
	c.Register = true
	a, log := open(t, c)
	for _, step := range []string{"waiting for a block that confirms", "waiting for one more block"} {
		eventually(t, step, func() bool { return log.count(step) == 1 })
		n.Mine(1)
	}
	eventually(t, "it is known where posts end", func() bool { p := a.Report().Posts; return p != nil && p.Exact })
}

func TestFrameThatNeverBecomesWholeIsForgotten(t *testing.T) {
	o, now := newOrigin(alice, Config{ResendAfter: time.Second}, newStatus(quietLog())), time.Now()
	o.take(&piece{epoch: 1, number: 1, count: 2, data: []byte("half")}, 5, now)
	o.expire(now.Add(partialFor))
	require.Len(t, o.frames, 1)
	o.expire(now.Add(partialFor + time.Second))
	require.Empty(t, o.frames)
	require.Zero(t, o.held)
	require.EqualValues(t, 1, o.status.report().Dropped[dropExpired])
	require.True(t, o.done.has(5))
}

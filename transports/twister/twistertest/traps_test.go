package twistertest_test

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

func TestUsedKLosesTheMessageWithoutAWord(t *testing.T) {
	_, a, b := twoSites(t, twistertest.Options{})
	dm(t, a, 0, "first")
	dm(t, a, 0, "second")
	require.Equal(t, []string{"first"}, inbox(t, b))
	lists, err := a.DirectMessages(t.Context(), "mqtt_alice", 10, rpc.Range{User: "mqtt_bob"})
	require.NoError(t, err)
	require.Len(t, lists["mqtt_bob"], 2, "the sender's list shows both")
}

func TestSameKTwiceAtATimeAbortsTheDaemon(t *testing.T) {
	_, a, _ := twoSites(t, twistertest.Options{Speed: twistertest.Speed{DM: time.Millisecond, Hash: 50 * time.Millisecond}})
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() { _, _ = a.DirectMessage(t.Context(), "mqtt_alice", 0, "mqtt_bob", "x") })
	}
	calls.Wait()
	require.Eventually(t, func() bool { return !a.Running() }, 5*time.Second, time.Millisecond)
	_, err := a.Info(t.Context())
	require.ErrorIs(t, err, rpc.ErrUnreachable)
}

func TestLastHaveLagsBehindWhatWasSent(t *testing.T) {
	_, a, _ := twoSites(t, twistertest.Options{Speed: twistertest.Speed{Hash: 20 * time.Millisecond}})
	dm(t, a, 0, "x")
	require.Equal(t, -1, lastHave(t, a, "mqtt_alice", "mqtt_alice"))
	require.Eventually(t, func() bool { return lastHave(t, a, "mqtt_alice", "mqtt_alice") == 0 }, 5*time.Second, time.Millisecond)
}

func TestMessagesOfOneSecondAreListedInReverse(t *testing.T) {
	_, a, b := twoSites(t, twistertest.Options{Now: func() time.Time { return time.Unix(1795331070, 0) }})
	for k, text := range []string{"a", "b", "c", "c"} {
		dm(t, a, k, text)
	}
	require.Equal(t, []string{"c", "b", "a"}, inbox(t, b), "of equal texts one is left")
}

func TestMessageLikeAnOwnOneOfItsSecondIsDropped(t *testing.T) {
	_, a, b := twoSites(t, twistertest.Options{Now: func() time.Time { return time.Unix(1795331070, 0) }})
	_, err := b.DirectMessage(t.Context(), "mqtt_bob", 0, "mqtt_alice", "same")
	require.NoError(t, err)
	for k, text := range []string{"same", "other"} {
		dm(t, a, k, text)
	}
	require.Equal(t, []string{"other", "same"}, inbox(t, b), "the own one is left")
}

func TestWhoDoesNotFollowReceivesNothing(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	a, b := newSite(t, n, "a"), newSite(t, n, "b")
	require.NoError(t, a.Register("mqtt_alice"))
	require.NoError(t, b.Register("mqtt_bob"))
	n.Mine(5)
	dm(t, a, 0, "early")
	require.Empty(t, inbox(t, b))
	require.NoError(t, b.Daemon.Follow("mqtt_bob", "mqtt_alice"))
	require.Equal(t, []string{"early"}, inbox(t, b), "a first follow fetches what was sent before")
}

func TestUserOfTheNewestBlockCannotSendYet(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	a := newSite(t, n, "a")
	post := func() error {
		_, err := a.PublicPost(t.Context(), "mqtt_alice", 0, "x")
		return err
	}
	require.ErrorIs(t, post(), rpc.ErrNotInWallet)
	require.NoError(t, a.Register("mqtt_alice"))
	require.ErrorIs(t, post(), rpc.ErrNotConfirmed)
	n.Mine(1)
	require.ErrorIs(t, post(), rpc.ErrNotConfirmed)
	n.Mine(1)
	require.NoError(t, post())
}

func TestKIsLimitedByHeight(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	a := newSite(t, n, "a")
	require.NoError(t, a.Register("mqtt_alice"))
	n.Mine(4) // registered at 1, height 4: the highest k is 26
	for k, want := range map[int]error{26: nil, 27: rpc.ErrBudgetSpent, -1: rpc.ErrBudgetSpent} {
		_, err := a.PublicPost(t.Context(), "mqtt_alice", k, "x")
		require.ErrorIs(t, err, want, "k %d", k)
	}
	n.Mine(1)
	_, err := a.PublicPost(t.Context(), "mqtt_alice", 28, "x")
	require.NoError(t, err)
}

func TestKThatTheReceiversChainLacksBreaksTheConnection(t *testing.T) {
	n, a, b := twoSites(t, twistertest.Options{Speed: twistertest.Speed{Reconnect: 300 * time.Millisecond}})
	b.HoldBlocks(true)
	n.Mine(10)
	dm(t, a, 1025, "ahead")
	dm(t, a, 0, "behind it")
	b.HoldBlocks(false)
	require.Empty(t, inbox(t, b))
	arrives(t, b, "ahead", "behind it")
}

func TestCallsDuringTheWarmUpSucceedAndDoNothing(t *testing.T) {
	_, a, b := twoSites(t, twistertest.Options{Speed: twistertest.Speed{WarmUp: 300 * time.Millisecond}})
	require.NoError(t, a.Restart())
	info, err := a.Info(t.Context())
	require.NoError(t, err)
	require.False(t, info.HasSession())
	require.Equal(t, -1, lastHave(t, a, "mqtt_alice", "mqtt_alice"))
	dm(t, a, 0, "lost")
	require.Eventually(t, func() bool {
		names, err := a.Following(t.Context(), "mqtt_alice")
		return err == nil && len(names) == 2
	}, 5*time.Second, time.Millisecond)
	require.Empty(t, inbox(t, b))
}

func TestKillLosesWhatWasNotSaved(t *testing.T) {
	_, a, b := twoSites(t, twistertest.Options{})
	dm(t, a, 0, "saved")
	a.Save()
	dm(t, a, 1, "at bob's too")
	b.Stop()
	dm(t, a, 2, "gone")
	a.Kill()
	require.NoError(t, a.Start())
	require.Equal(t, 0, lastHave(t, a, "mqtt_alice", "mqtt_alice"), "k fell back")
	require.NoError(t, b.Start())
	require.Equal(t, 1, lastHave(t, a, "mqtt_alice", "mqtt_alice"), "a peer gave back what it has")
	require.Equal(t, []string{"at bob's too", "saved"}, inbox(t, b))
}

func TestLargeUserDataIsNotRead(t *testing.T) {
	_, a, b := twoSites(t, twistertest.Options{UserDataLimit: 20_000})
	texts := numbered(100)
	for k, text := range texts {
		dm(t, a, k, text+strings.Repeat("x", 200))
	}
	require.Greater(t, b.UserDataSize(), 20_000)
	require.NoError(t, b.Restart())
	require.Empty(t, inbox(t, b))
	names, err := b.Following(t.Context(), "mqtt_bob")
	require.NoError(t, err)
	require.Empty(t, names)
	require.NoError(t, b.Daemon.Follow("mqtt_bob", "mqtt_alice"))
	require.Equal(t, 99, lastHave(t, b, "mqtt_bob", "mqtt_alice"), "the torrents are kept apart")
	require.Empty(t, inbox(t, b))
}

func TestTenIdleConnectionsBlockTheDaemon(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	a := newSite(t, n, "a")
	var idle []net.Conn
	for range 10 {
		conn, err := net.Dial("tcp", a.Addr())
		require.NoError(t, err)
		defer conn.Close()
		idle = append(idle, conn)
	}
	client, err := rpc.New(rpc.Config{URL: a.Daemon.URL(), Timeout: 200 * time.Millisecond})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := client.Info(t.Context())
		return err != nil
	}, 5*time.Second, time.Millisecond)
	require.NoError(t, idle[0].Close())
	_, err = a.Info(t.Context())
	require.NoError(t, err)
}

func TestOnlyThePasswordLetsIn(t *testing.T) {
	n := newNetwork(t, twistertest.Options{User: "u", Password: "p:/@?"})
	a := newSite(t, n, "a")
	_, err := a.Info(t.Context())
	require.NoError(t, err)
	stranger, err := rpc.New(rpc.Config{URL: "http://u:wrong@" + a.Addr()})
	require.NoError(t, err)
	_, err = stranger.Info(t.Context())
	require.ErrorIs(t, err, rpc.ErrUnauthorized)
}

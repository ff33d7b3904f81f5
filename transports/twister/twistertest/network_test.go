package twistertest_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

func TestLostPiecesArriveWhenPeersConnectAgain(t *testing.T) {
	n, a, b := twoSites(t, twistertest.Options{Seed: 1})
	n.SetLoss(1, false)
	dm(t, a, 0, "lost")
	n.SetLoss(0, false)
	dm(t, a, 1, "not lost")
	require.Equal(t, []string{"not lost"}, inbox(t, b))
	require.True(t, b.Missing("mqtt_alice", 0))
	n.Heal(a.Daemon, b.Daemon)
	arrives(t, b, "lost", "not lost")
}

func TestPiecesLostForGoodNeverArrive(t *testing.T) {
	n, a, b := twoSites(t, twistertest.Options{})
	n.SetLoss(1, true)
	dm(t, a, 0, "lost")
	n.SetLoss(0, false)
	require.NoError(t, a.Restart())
	require.NoError(t, b.Restart())
	dm(t, a, 1, "not lost")
	require.Equal(t, []string{"not lost"}, inbox(t, b))
}

func TestPartitionHoldsMessagesBackUntilItHeals(t *testing.T) {
	n, a, b := twoSites(t, twistertest.Options{})
	n.Partition(a.Daemon, b.Daemon)
	dm(t, a, 0, "x")
	require.Empty(t, inbox(t, b))
	n.Heal(a.Daemon, b.Daemon)
	require.Equal(t, []string{"x"}, inbox(t, b))
}

func TestThirdDaemonHandsOnWhatTheSenderNoLongerCan(t *testing.T) {
	n, a, b := twoSites(t, twistertest.Options{})
	c := newSite(t, n, "c")
	require.NoError(t, c.Register("mqtt_carol"))
	n.Mine(2)
	require.NoError(t, c.Daemon.Follow("mqtt_carol", "mqtt_alice"))
	b.Stop()
	dm(t, a, 0, "x")
	a.Kill()
	require.NoError(t, b.Start())
	require.Equal(t, []string{"x"}, inbox(t, b))
}

func TestRealSpeedDeliversAllOfABurst(t *testing.T) {
	speed := twistertest.RealSpeed()
	speed.WarmUp = 100 * time.Millisecond
	_, a, b := twoSites(t, twistertest.Options{Speed: speed})
	require.Eventually(t, func() bool {
		names, err := b.Following(t.Context(), "mqtt_bob")
		return err == nil && len(names) == 2
	}, 5*time.Second, time.Millisecond)
	texts := numbered(50)
	begin := time.Now()
	for k, text := range texts {
		dm(t, a, k, text)
	}
	require.GreaterOrEqual(t, time.Since(begin), 50*speed.DM)
	arrives(t, b, texts...)
}

func TestCallsThatSignWaitForEachOther(t *testing.T) {
	_, a, _ := twoSites(t, twistertest.Options{Speed: twistertest.Speed{DM: 20 * time.Millisecond}})
	begin := time.Now()
	var calls sync.WaitGroup
	for k := range 4 {
		calls.Go(func() { _, _ = a.DirectMessage(t.Context(), "mqtt_alice", k, "mqtt_bob", fmt.Sprint(k)) })
	}
	calls.Wait()
	require.GreaterOrEqual(t, time.Since(begin), 80*time.Millisecond)
}

func TestFaultsLeaveTheOutcomeOpen(t *testing.T) {
	_, a, b := twoSites(t, twistertest.Options{})
	for k, tt := range []struct {
		fault twistertest.Fault
		want  []string
	}{
		{twistertest.DropRequest, nil},
		{twistertest.DropAnswer, []string{"DropAnswer"}},
		{twistertest.Hang, []string{"DropAnswer"}},
	} {
		a.SetFault(func(string) twistertest.Fault { return tt.fault })
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := a.DirectMessage(ctx, "mqtt_alice", k, "mqtt_bob", "DropAnswer")
		cancel()
		require.ErrorIs(t, err, rpc.ErrUnknownOutcome)
		require.Equal(t, tt.want, inbox(t, b))
	}
}

func TestUserDataIsSavedEverySoOften(t *testing.T) {
	_, a, _ := twoSites(t, twistertest.Options{SaveEvery: 5 * time.Millisecond})
	require.Eventually(t, func() bool {
		a.Kill()
		require.NoError(t, a.Start())
		names, err := a.Following(t.Context(), "mqtt_alice")
		require.NoError(t, err)
		require.NoError(t, a.Daemon.Follow("mqtt_alice", "mqtt_alice"))
		return len(names) > 0
	}, 10*time.Second, 50*time.Millisecond)
}

func TestDeadNodeIsWaitedFor(t *testing.T) {
	_, a, b := twoSites(t, twistertest.Options{Speed: twistertest.Speed{DHTDead: 300 * time.Millisecond}})
	a.Kill()
	begin := time.Now()
	for _, wait := range []time.Duration{50 * time.Millisecond, 0} {
		entries, err := b.DHTGet(t.Context(), "mqtt_alice", "profile", rpc.Single, wait)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
	require.GreaterOrEqual(t, time.Since(begin), 350*time.Millisecond)
}

func TestNetworkWithoutSenseIsRefused(t *testing.T) {
	for _, opts := range []twistertest.Options{{Loss: 2}, {Loss: -1}, {Threads: -1}, {BlockEvery: -1}} {
		_, err := twistertest.New(opts)
		require.Error(t, err)
	}
	n := newNetwork(t, twistertest.Options{})
	n.Close()
	_, err := n.Daemon("a")
	require.Error(t, err, "it is closed")
}

func TestBlocksComeByTheClock(t *testing.T) {
	n := newNetwork(t, twistertest.Options{BlockEvery: time.Millisecond})
	require.Eventually(t, func() bool { return n.Height() >= 3 }, 5*time.Second, time.Millisecond)
}

func TestProfileIsReadFromOtherNodesAlone(t *testing.T) {
	_, a, b := twoSites(t, twistertest.Options{})
	put := func(text string, seq int64) {
		require.NoError(t, a.DHTPut(t.Context(), "mqtt_alice", "profile", rpc.Single, map[string]any{"bio": text}, "mqtt_alice", seq))
	}
	get := func(s site) any {
		entries, err := s.DHTGet(t.Context(), "mqtt_alice", "profile", rpc.Single, time.Second)
		require.NoError(t, err)
		if len(entries) == 0 {
			return nil
		}
		return entries[0].Value
	}
	put("one", 5)
	put("two", 5)
	require.Equal(t, map[string]any{"bio": "one"}, get(b))
	put("three", 6)
	require.Equal(t, map[string]any{"bio": "three"}, get(b))
	require.Equal(t, map[string]any{"bio": "three"}, get(a))
	a.Stop()
	require.Nil(t, get(b), "its own store is not looked at")
	require.NoError(t, a.Start())
	require.NotNil(t, get(b))
}

func TestLockedWalletReadsAndDoesNotSend(t *testing.T) {
	_, a, _ := twoSites(t, twistertest.Options{})
	a.EncryptWallet("secret")
	_, err := a.PublicPost(t.Context(), "mqtt_alice", 0, "x")
	require.ErrorIs(t, err, rpc.ErrWalletLocked)
	info, err := a.Info(t.Context())
	require.NoError(t, err)
	require.True(t, info.Locked())
}

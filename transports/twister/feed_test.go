package twister

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

func TestBroadcastFramesComeInOrderEachOnceAlsoAfterAbsence(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	tellAll(t, a, numberedFrame(1), numberedFrame(2))
	comes(t, feed, "frame 1", "frame 2")
	require.NoError(t, b.Close())
	tellAll(t, a, numberedFrame(3))
	w.atBob.Stop()
	require.NoError(t, w.atBob.Start())
	require.NoError(t, w.atAlice.Restart())
	tellAll(t, a, numberedFrame(4))
	require.NoError(t, a.Close())
	a, _ = open(t, w.alice)
	tellAll(t, a, numberedFrame(5))
	b, _ = open(t, w.bob)
	feed = feedOf(t, b)
	comes(t, feed, "frame 3", "frame 4", "frame 5")
	tellAll(t, a, numberedFrame(6))
	comes(t, feed, "frame 6")
	require.EqualValues(t, 4*len("frame 1"), b.Report().BytesIn)
}

func TestBroadcastIsPublishedOnceAnotherDaemonHasIt(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	eventually(t, "alice is up", func() bool { return a.Report().State == transports.Up })
	w.Partition(w.atAlice, w.atBob)
	published := make(chan error, 1)
	go func() { published <- a.Publish(transports.Broadcast, numberedFrame(1)) }()
	client := newClient(t, w.atAlice)
	eventually(t, "it is in the own torrent", func() bool {
		have, err := client.LastHave(t.Context(), alice, alice)
		return err == nil && have[alice] == 0
	})
	select {
	case err := <-published:
		t.Fatalf("published while nobody else has it: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	w.Heal(w.atAlice, w.atBob)
	require.NoError(t, <-published)
	require.EqualValues(t, len("frame 1"), a.Report().BytesOut)
}

func TestBroadcastThatNobodyWaitsForIsPublishedAtOnce(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	a, _ := open(t, testConfig(t, atAlice, alice, bob))
	tellAll(t, a, numberedFrame(1))
}

// The only follower is away, also when this node has been restarted.
func TestBroadcastToWhoIsAwayIsPublishedOnceItIsOnDisk(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	tellAll(t, a, numberedFrame(1))
	require.NoError(t, a.Close())
	w.atBob.Stop()
	a, _ = open(t, w.alice)
	eventually(t, "alice is without peers", func() bool { return a.Report().State == transports.Stalled })
	require.False(t, a.daemon.isAlone())
	a.feed.pace.saved = 20 * time.Millisecond
	tellAll(t, a, numberedFrame(2))
}

func TestBroadcastInOneBoxNeedsNoOther(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	at := newTwisterd(t, n, "a")
	require.NoError(t, at.Register(alice))
	require.NoError(t, at.Register(bob))
	n.Mine(100)
	a, _ := open(t, testConfig(t, at, alice, bob))
	b, _ := open(t, testConfig(t, at, bob, alice))
	feed := feedOf(t, b)
	eventually(t, "alice has a torrent", func() bool { return a.Report().State == transports.Up })
	published := make(chan error, 1)
	go func() { published <- a.Publish(transports.Broadcast, numberedFrame(1)) }()
	comes(t, feed, "frame 1")
	require.NoError(t, <-published)
}

// The daemon is killed before anybody else has the post, and before it has saved it.
func TestBroadcastThatTheDaemonLosesIsPostedAgain(t *testing.T) {
	w := newFeedWorld(t)
	a, log := open(t, w.alice)
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	w.Partition(w.atAlice, w.atBob)
	published := make(chan error, 1)
	go func() { published <- a.Publish(transports.Broadcast, numberedFrame(1)) }()
	client := newClient(t, w.atAlice)
	eventually(t, "the daemon has taken it", func() bool {
		have, err := client.LastHave(t.Context(), alice, alice)
		return err == nil && have[alice] == 0
	})
	w.atAlice.Kill()
	require.NoError(t, w.atAlice.Start())
	eventually(t, "it is posted again", func() bool { return log.count("posting it again") > 0 })
	w.Heal(w.atAlice, w.atBob)
	comes(t, feed, "frame 1")
	require.NoError(t, <-published)
	tellAll(t, a, numberedFrame(2))
	comes(t, feed, "frame 2")
}

// Daemons are killed, restarted and cut off at random while frames are broadcast. Is each delivered once, and in order?
func TestBroadcastSurvivesKillsAndRestarts(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	b, _ := open(t, w.bob)
	b.feed.pace.gap = 10 * time.Millisecond // no session lasts for long
	feed := feedOf(t, b)
	reads(t, b, alice)
	const count = 60
	published := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < count && err == nil; i++ {
			err = a.Publish(transports.Broadcast, numberedFrame(i))
		}
		published <- err
	}()
	stop := spawn(t, func(ctx context.Context) {
		rng := rand.New(rand.NewPCG(1, 1))
		for ctx.Err() == nil {
			at := []*twistertest.Daemon{w.atAlice, w.atBob}[rng.IntN(2)]
			switch rng.IntN(4) {
			case 0:
				at.Kill()
				pause(ctx, 10*time.Millisecond)
				_ = at.Start()
			case 1:
				_ = at.Restart()
			case 2:
				w.Partition(w.atAlice, w.atBob)
				pause(ctx, 20*time.Millisecond)
				w.Heal(w.atAlice, w.atBob)
			case 3:
				at.Save()
			}
			pause(ctx, time.Duration(rng.IntN(60))*time.Millisecond)
		}
	})
	for i := range count {
		comes(t, feed, fmt.Sprint("frame ", i))
	}
	require.NoError(t, <-published)
	stop()
	require.Empty(t, b.Report().Dropped)
}

package twister_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// lane sends frames one after the other, several at a time as lanes of different routes do, until all are taken.
func lane(ctx context.Context, n func() *twister.Transport, to string, count int) error {
	for i := range count {
		for {
			err := send(ctx, n(), to, frame(i))
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return err
			}
		}
	}
	return nil
}

// inOrder checks that the frames from 0 to count came in order, each at least once and at most most times.
func inOrder(t *testing.T, got []string, count, most int) {
	t.Helper()
	next, seen := 0, map[string]int{}
	for _, payload := range got {
		seen[payload]++
		require.LessOrEqual(t, seen[payload], most, payload)
		if seen[payload] > 1 {
			continue
		}
		require.Equal(t, fmt.Sprintf("frame %d", next), payload)
		next++
	}
	require.Equal(t, count, next)
}

func TestLostPiecesAreSentAgainWithNewKs(t *testing.T) {
	w := newWorld(t, twistertest.Options{Seed: 3}, "alice", "bob")
	w.SetLoss(0.3, true)
	sent := record(t, w.daemons["alice"])
	resend := func(c *twister.Config) { c.ResendAfter = 100 * time.Millisecond }
	alice, bob := w.node(t, "alice", sent.through, resend), w.node(t, "bob", resend)
	got := gatherFrom(subscribe(t, bob))
	const count = 15
	require.NoError(t, lane(t.Context(), func() *twister.Transport { return alice }, "bob", count))
	inOrder(t, got.all(), count, 1)
	require.Empty(t, sent.twice())
	require.Greater(t, len(sent.taken()), count)
}

func TestLargeFrameWithLossNeedsItsMissingPiecesAlone(t *testing.T) {
	w := newWorld(t, twistertest.Options{Seed: 5}, "alice", "bob")
	sent := record(t, w.daemons["alice"])
	resend := func(c *twister.Config) { c.ResendAfter = 2 * time.Second }
	alice, bob := w.node(t, "alice", sent.through, resend), w.node(t, "bob", resend)
	got := gatherFrom(subscribe(t, bob))
	w.SetLoss(0.1, true)
	m := frame(0)
	m.Payload = append(m.Payload, make([]byte, 90_000)...) // 63 pieces
	require.NoError(t, send(t.Context(), alice, "bob", m))
	require.Len(t, got.all(), 1)
	require.Less(t, len(sent.taken()), 110, "63 pieces, and what was lost of them")
}

func TestUnknownOutcomesLoseAndDoubleNothing(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	var calls atomic.Int64
	for _, d := range w.daemons {
		d.SetFault(func(method string) twistertest.Fault {
			if method != "newdirectmsg" {
				return twistertest.NoFault
			}
			return []twistertest.Fault{twistertest.NoFault, twistertest.DropAnswer, twistertest.NoFault, twistertest.DropRequest}[calls.Add(1)%4]
		})
	}
	sent := record(t, w.daemons["alice"])
	alice, bob := w.node(t, "alice", sent.through), w.node(t, "bob")
	got := gatherFrom(subscribe(t, bob))
	const count = 10
	require.NoError(t, lane(t.Context(), func() *twister.Transport { return alice }, "bob", count))
	inOrder(t, got.all(), count, 1)
	require.Empty(t, sent.twice())
}

// Is anything lost, doubled or out of order when daemons are killed at random moments?
func TestDaemonsKilledAtRandomLoseAndDoubleNothing(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, twistertest.Options{Seed: seed, SaveEvery: 300 * time.Millisecond}, "alice", "bob")
			sent := record(t, w.daemons["alice"])
			resend := func(c *twister.Config) { c.ResendAfter = 300 * time.Millisecond }
			alice, bob := w.node(t, "alice", sent.through, resend), w.node(t, "bob", resend)
			got := gatherFrom(subscribe(t, bob))
			const count = 60
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { killAtRandom(ctx, w, seed) })
			err := lane(t.Context(), func() *twister.Transport { return alice }, "bob", count)
			cancel()
			running.Wait()
			require.NoError(t, err)
			inOrder(t, got.all(), count, 1)
			require.Empty(t, sent.twice())
		})
	}
}

// killAtRandom kills one daemon or the other and starts it again, until ctx ends.
func killAtRandom(ctx context.Context, w *world, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for ctx.Err() == nil {
		d := w.daemons[w.users[rng.IntN(len(w.users))]]
		select {
		case <-time.After(time.Duration(rng.IntN(int(400 * time.Millisecond)))):
		case <-ctx.Done():
			return
		}
		d.Kill()
		_ = d.Start() // on its old port, which nobody else can have taken in between
	}
}

// Is anything lost or out of order when the transports are restarted at random moments? A frame whose receipt was under way may come
// twice, for the sender's transport does not know any more that it has sent it; the frames' own numbers tell.
func TestTransportsRestartedAtRandomLoseNothing(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	sent := record(t, w.daemons["alice"])
	var alice atomic.Pointer[twister.Transport]
	start := func(user string, change ...func(*twister.Config)) *twister.Transport {
		n := w.transport(t, user, change...)
		require.NoError(t, n.Start(t.Context()))
		return n
	}
	alice.Store(start("alice", sent.through))
	bob := start("bob")
	var got []string
	listen := func(n *twister.Transport) *gather { return gatherFrom(subscribe(t, n)) }
	atBob := listen(bob)
	const count = 60
	done := make(chan error, 1)
	go func() { done <- lane(t.Context(), alice.Load, "bob", count) }()
	rng := rand.New(rand.NewPCG(7, 7))
	restarts := 0
	for running := true; running; {
		select {
		case err := <-done:
			require.NoError(t, err)
			running = false
		case <-time.After(time.Duration(rng.IntN(int(600 * time.Millisecond)))):
			restarts++
			if rng.IntN(2) == 0 {
				old := alice.Load()
				require.NoError(t, old.Close())
				alice.Store(start("alice", sent.through))
				continue
			}
			require.NoError(t, bob.Close())
			<-atBob.done
			got = append(got, atBob.all()...)
			bob = start("bob")
			atBob = listen(bob)
		}
	}
	require.NoError(t, alice.Load().Close())
	require.NoError(t, bob.Close())
	<-atBob.done
	got = append(got, atBob.all()...)
	inOrder(t, got, count, restarts+1)
	require.Empty(t, sent.twice())
	t.Logf("%d restarts, %d posts for %d frames, %d received", restarts, len(sent.taken()), count, len(got))
}

// A sender whose folder and clock were set back learns from the recipient where to go on.
func TestSenderThatWasSetBackGetsThrough(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	dir := filepath.Join(w.dirs, "bob")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "inbox.json"), []byte(`{"alice": {"epoch": 4294000000, "taken": 5}}`), 0o600))
	resend := func(c *twister.Config) { c.ResendAfter = 50 * time.Millisecond }
	alice, bob := w.node(t, "alice", resend), w.node(t, "bob", resend)
	got := gatherFrom(subscribe(t, bob))
	require.NoError(t, lane(t.Context(), func() *twister.Transport { return alice }, "bob", 3))
	inOrder(t, got.all(), 3, 1)
}

// A recipient who has lost what he knew reads all that his daemon lists, of which the sender has receipts.
func TestFreshFolderTakesLittleAgainThatWasConfirmed(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	for i := range 3 { // starts of the sender
		alice, bob := w.node(t, "alice"), w.node(t, "bob")
		subscription := gatherFrom(subscribe(t, bob))
		for j := range 4 {
			publish(t, alice, "bob", frame(10*i+j))
		}
		require.NoError(t, errors.Join(alice.Close(), bob.Close()))
		<-subscription.done
	}
	require.NoError(t, os.RemoveAll(filepath.Join(w.dirs, "bob")))
	bob := w.node(t, "bob")
	got := gatherFrom(subscribe(t, bob))
	require.Eventually(t, func() bool { return slices.Contains(got.all(), "frame 23") }, patience, time.Millisecond, "the last may be all that there is of it")
	publish(t, w.node(t, "alice"), "bob", frame(30))
	require.Contains(t, got.all(), "frame 30")
	require.Subset(t, []string{"frame 23", "frame 30"}, got.all())
}

package kademlia_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// Connections and streams break at random, with many frames in flight, while both nodes live.
func TestEachFrameArrivesOnceAndInOrderHoweverOftenConnectionsBreak(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(listen, func(t *testing.T) { breakOften(t, listen) })
	}
}

func breakOften(t *testing.T, listen string) {
	m := newMesh(t)
	node := func(name string) *kademlia.Transport {
		c := m.config(t, name)
		c.Listen = []string{listen}
		return start(t, build(t, c))
	}
	alice, bob := node("alice"), node("bob")
	in := subscribe(t, bob, transports.Inbox)
	const count, breaks = 3000, 12
	sent := make(chan error, 1)
	go func() {
		var results []<-chan error
		for n := range count {
			frame := numbered(n)
			frame.Payload = append(frame.Payload, make([]byte, rand.N(20<<10))...)
			frame.SetContext(t.Context())
			results = append(results, alice.Send(transports.Direct("bob"), frame))
		}
		for n, r := range results {
			if err := <-r; err != nil {
				sent <- fmt.Errorf("frame %d: %w", n, err)
				return
			}
		}
		sent <- nil
	}()
	broken := 0
	for n := range count {
		frame := receive(t, in)
		require.Equal(t, fmt.Sprintf("frame-%d", n), frame.UUID)
		if rand.N(count) < breaks { // some before the acknowledgement, some after
			broken++
			kademlia.Break([]*kademlia.Transport{alice, bob}[rand.N(2)], []string{"bob", "alice"}, rand.N(2) == 0)
		}
		frame.Ack()
	}
	require.NoError(t, result(t, sent))
	require.Zero(t, alice.Mesh().Peers[0].InFlight)
	t.Logf("%d breaks", broken)
}

func TestASenderThatWasRestartedGoesOnBehindWhatTheRecipientHasInHand(t *testing.T) {
	m := newMesh(t)
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob"))
	in := subscribe(t, bob, transports.Inbox)
	send(t.Context(), alice, 1, 2, 3)
	var held []*message.Message
	for n := 1; n <= 3; n++ {
		held = append(held, receive(t, in))
		require.Equal(t, fmt.Sprintf("frame-%d", n), held[n-1].UUID)
	}
	require.NoError(t, alice.Close())

	alice = start(t, m.node(t, "alice"))
	sent := send(t.Context(), alice, 1, 2, 3, 4) // nothing was confirmed: its lane begins anew
	again := receive(t, in)
	require.Equal(t, "frame-1", again.UUID)
	for _, h := range held {
		h.Ack()
	}
	for n := 2; n <= 4; n++ { // the pipeline knows them by their names
		later := receive(t, in)
		require.Equal(t, fmt.Sprintf("frame-%d", n), later.UUID)
		if n == 2 {
			select {
			case err := <-sent[0]:
				t.Fatalf("the frame is said to be taken (%v), because another session's was", err)
			default:
			}
			again.Ack()
		}
		later.Ack()
	}
	for _, s := range sent {
		require.NoError(t, result(t, s))
	}
}

// Bob stops as soon as he has taken what there is. It is not to come again, so alice is to hear of it before he is gone.
func TestWhatWasTakenBeforeCloseIsConfirmed(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(listen, func(t *testing.T) {
			m := newMesh(t)
			node := func(name string) *kademlia.Transport {
				c := m.config(t, name)
				c.Listen = []string{listen}
				return start(t, build(t, c))
			}
			alice := node("alice")
			for range 3 {
				bob := node("bob")
				in := subscribe(t, bob, transports.Inbox)
				sent := send(t.Context(), alice, 1, 2, 3)
				for range sent {
					receive(t, in).Ack()
				}
				require.NoError(t, bob.Close())
				for _, s := range sent {
					require.NoError(t, result(t, s))
				}
			}
		})
	}
}

// port returns the address that a node listens on, to listen there again.
func port(node *kademlia.Transport) string {
	addr, _, _ := strings.Cut(node.Addresses()[0], "/p2p/")
	return addr
}

func TestARestartNeedsNoBootstrap(t *testing.T) {
	m := newMesh(t)
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob"))
	require.NoError(t, exchange(t, alice, bob))
	at := port(bob)
	eventually(t, "bob's address is kept", func() bool {
		text, _ := os.ReadFile(filepath.Join(m.dirs["alice"], "addresses.json"))
		return strings.Contains(string(text), at)
	})
	require.NoError(t, alice.Close())
	require.NoError(t, bob.Close())

	m.bootstrap = ""
	toBob := m.config(t, "bob")
	toBob.Listen, toBob.DataDir = []string{at}, t.TempDir() // which knows nobody
	require.NoError(t, exchange(t, start(t, m.node(t, "alice")), start(t, build(t, toBob))))
}

// exchange sends a frame from one node to another.
func exchange(t *testing.T, from, to *kademlia.Transport) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in, err := to.Subscribe(ctx, transports.Inbox)
	require.NoError(t, err)
	sent := sendTo(t.Context(), from, kademlia.Name(to), 1)
	receive(t, in).Ack()
	return result(t, sent)
}

// Nobody reaches alice, so that bob cannot find her: she has to find him.
func TestAPeerIsFoundWhereItHasMoved(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprint("sender restarted ", restarted), func(t *testing.T) {
			m := newMesh(t)
			hidden := func() *kademlia.Transport {
				c := m.config(t, "alice")
				c.Listen = []string{}
				return start(t, build(t, c))
			}
			alice, bob := hidden(), start(t, m.node(t, "bob"))
			require.NoError(t, exchange(t, alice, bob))
			at := port(bob)
			require.NoError(t, bob.Close())
			squat(t, "127.0.0.1:"+at[strings.LastIndex(at, "/")+1:]) // bob does not get the port again
			if restarted {
				require.NoError(t, alice.Close())
				alice = hidden()
			}
			sent := send(t.Context(), alice, 2)
			m.dirs["bob"] = "" // it has lost everything but its key
			bob = start(t, m.node(t, "bob"))
			receive(t, subscribe(t, bob, transports.Inbox)).Ack()
			require.NoError(t, result(t, sent[0]))
		})
	}
}

// squat listens on the address, hangs up on whoever connects, and counts them.
func squat(t *testing.T, addr string) (port int, attempts *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	attempts = new(atomic.Int32)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			attempts.Add(1)
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port, attempts
}

// An absent recipient costs a timer: that frames wait for it, or are given up, makes no attempt to reach it.
func TestFramesForAnAbsentPeerMakeNoAttempts(t *testing.T) {
	dead, attempts := squat(t, "127.0.0.1:0")
	m := &mesh{names: []string{"bob"}, dirs: map[string]string{}}
	m.bootstrap = fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", dead, idOf(t, "bob"))
	began := time.Now()
	alice := start(t, m.node(t, "alice"))
	for n := range 10000 {
		ctx, cancel := context.WithCancel(t.Context())
		sent := send(ctx, alice, n)
		cancel()
		require.ErrorIs(t, result(t, sent[0]), context.Canceled)
	}
	most := 2 + 2*int(time.Since(began)/time.Second) // the least wait is half a second, and it doubles
	require.LessOrEqual(t, int(attempts.Load()), most)
}

func TestWaitsDouble(t *testing.T) {
	for range 100 {
		var last time.Duration
		for i, wait := range kademlia.DialWaits(12) {
			whole := min(time.Second<<i, 30*time.Second)
			require.LessOrEqual(t, wait, whole)
			require.GreaterOrEqual(t, wait, whole/2)
			last = wait
		}
		require.GreaterOrEqual(t, last, 15*time.Second)
	}
}

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/transports"
)

// untuned is a pair of sites whose first has a Mosquitto as it is unless it is told otherwise: it queues 1,000 messages for a
// client. (The second one's must not drop what the test's own subscriber is too slow for.)
func untuned(t *testing.T) (m *mesh, alice, bob *site) {
	t.Helper()
	m, alice, bob = pair(t)
	alice.broker = newBroker(t, "alice")
	alice.node.config["broker"] = object{"url": alice.broker.url()}
	return m, alice, bob
}

// awaitQueued waits until a lane holds so many messages.
func awaitQueued(t *testing.T, n *node, name string, depth int) {
	t.Helper()
	n.await(20*time.Second, func(s pipeline.Status) error {
		if l := lane(t, s, name); l.Depth != depth {
			return fmt.Errorf("lane %s holds %d messages, not %d", name, l.Depth, depth)
		}
		return nil
	})
}

// startAlone starts alice's site with neither network nor peer.
func startAlone(t *testing.T, m *mesh) (alice, bob *site) {
	t.Helper()
	m.introduce()
	alice, bob = m.sites[0], m.sites[1]
	alice.broker.start()
	alice.node.start()
	alice.node.await(20*time.Second, func(s pipeline.Status) error { return state("broker", s.Broker, transports.Up) })
	return alice, bob
}

// startPeer starts all that startAlone has left out.
func startPeer(t *testing.T, m *mesh) *record {
	t.Helper()
	bob := m.sites[1]
	bob.broker.start()
	r := newRecord(t, bob.broker.addr, "#", 1)
	m.nats.start()
	bob.node.start()
	return r
}

// Neither the network nor the peer has ever been there when the messages are published. Do all arrive, in order, once they are?
func TestMessagesWaitForAPeerThatWasNeverReachable(t *testing.T) {
	m, _, _ := pair(t)
	alice, _ := startAlone(t, m)
	l := newLoad(t, alice.broker.addr, "early", 1)
	require.NoError(t, l.publish(t.Context(), 10_000))
	r := startPeer(t, m)
	r.awaitAll(t, l, 60*time.Second)
	r.requireOrder(t)
	require.Equal(t, 10_000, r.arrivals())
}

// What the peer turns out not to want stays here.
func TestWhatAPeerTurnsOutNotToWantIsNotSent(t *testing.T) {
	m, _, bob := pair(t)
	bob.node.config["subscribe"] = list{"early/1", "early/2"}
	alice, _ := startAlone(t, m)
	l := newLoad(t, alice.broker.addr, "early", 1)
	require.NoError(t, l.publish(t.Context(), 100))
	awaitQueued(t, alice.node, "all/bob", 100)
	r := startPeer(t, m)
	alice.node.awaitEmpty(20 * time.Second)
	require.NoError(t, l.publish(t.Context(), 3)) // the last wanted one is behind everything else
	r.awaitArrivals(t, 22, 20*time.Second)
	require.Equal(t, map[string]int{"early/1": 10, "early/2": 10}, r.topics(), "the last number on each topic")
	require.Equal(t, 22, r.arrivals())
	s, err := bob.node.status()
	require.NoError(t, err)
	require.Empty(t, s.Incoming.Refused, "bob refused nothing, for nothing was sent in vain")
}

// Mosquitto's bridge loses all 500 of these: the peer is down, the sending side is killed.
func TestMessagesForAnAbsentPeerSurviveAKill(t *testing.T) {
	m, alice, bob := untuned(t)
	m.start()
	bob.node.stop()
	bob.broker.stop()
	m.nats.stop()
	l := newLoad(t, alice.broker.addr, "kept", 1)
	require.NoError(t, l.publish(t.Context(), 500))
	alice.node.kill() // at once: the broker holds what the node has not taken
	alice.node.start()
	awaitHeld(t, alice.node, "all/bob", 500)
	alice.node.kill()
	alice.broker.kill() // and now it has nothing any more
	alice.broker.start()
	r := startPeer(t, m)
	alice.node.start()
	r.awaitAll(t, l, 30*time.Second)
	r.requireOrder(t)
}

// awaitHeld waits until a lane holds at least so many messages: what was taken and not yet acknowledged to the broker when the
// node was killed is in it twice.
func awaitHeld(t *testing.T, n *node, name string, depth int) {
	t.Helper()
	n.await(20*time.Second, func(s pipeline.Status) error {
		if l := lane(t, s, name); l.Depth < depth {
			return fmt.Errorf("lane %s holds %d messages, not %d", name, l.Depth, depth)
		}
		return nil
	})
}

// Of these 1,500 Mosquitto's bridge keeps 1,000 and says nothing about the others.
func TestManyMessagesForAnAbsentPeerAreAllKept(t *testing.T) {
	m, alice, bob := untuned(t)
	m.start()
	bob.node.stop()
	bob.broker.stop()
	m.nats.stop()
	l := newLoad(t, alice.broker.addr, "kept", 1)
	// At full speed on a busy machine Mosquitto itself would throw some away: it lets the node have 20 messages between two syncs
	// of the disk and queues 1,000.
	l.pace = time.Millisecond
	require.NoError(t, l.publish(t.Context(), 1500))
	r := startPeer(t, m)
	r.awaitAll(t, l, 30*time.Second)
	r.requireOrder(t)
	require.Equal(t, 1500, r.arrivals())
}

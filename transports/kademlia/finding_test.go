package kademlia_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// with starts a node whose configuration is altered.
func (m *mesh) with(t *testing.T, name string, alter func(c *kademlia.Config)) *kademlia.Transport {
	t.Helper()
	c := m.config(t, name)
	alter(&c)
	return start(t, build(t, c))
}

// reached returns how a node reaches a peer.
func reached(t *testing.T, node *kademlia.Transport, name string) transports.Reach {
	t.Helper()
	for _, p := range node.Mesh().Peers {
		if p.Peer == name {
			return p
		}
	}
	t.Fatalf("%s is no peer", name)
	return transports.Reach{}
}

// figure returns one of the node's metrics.
func figure(node *kademlia.Transport, name string) float64 {
	for _, m := range node.Metrics() {
		if m.Name == name {
			return m.Of[""]
		}
	}
	return -1
}

func TestNodesFindEachOtherOverQUICAlone(t *testing.T) {
	noLeaks(t)
	m := &mesh{names: []string{"alice", "bob"}, dirs: map[string]string{}}
	quic := func(c *kademlia.Config) { c.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"} }
	m.bootstrap = m.with(t, "lighthouse", quic).Addresses()[0]
	alice, bob := m.with(t, "alice", quic), m.with(t, "bob", quic)
	require.NoError(t, exchange(t, alice, bob))
	require.Equal(t, "direct QUIC", reached(t, alice, "bob").How)
	require.Equal(t, "direct QUIC", reached(t, bob, "alice").How)
}

// Over QUIC a stream that the far end has closed cannot be closed any more. Does a node show its profile for ever?
func TestAProfileThatWasAnsweredOverQUICIsNotShownAgain(t *testing.T) {
	m := &mesh{names: []string{"alice", "bob"}, dirs: map[string]string{}}
	quic := func(c *kademlia.Config) { c.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"} }
	bob := m.with(t, "bob", quic)
	m.bootstrap = bob.Addresses()[0]
	alice := m.with(t, "alice", quic)
	announce(t, alice, "of alice")
	see(t, watch(t, bob), "alice", "of alice")
	for range 20 {
		require.NoError(t, kademlia.PushProfile(alice, "bob"))
	}
}

func TestANetworkKeyKeepsOutWhoDoesNotHaveIt(t *testing.T) {
	noLeaks(t)
	m := &mesh{names: []string{"alice", "bob", "carol", "dave"}, dirs: map[string]string{}}
	key := func(digit string) func(c *kademlia.Config) {
		return func(c *kademlia.Config) { c.NetworkKey = strings.Repeat(digit, 64) }
	}
	alice := m.with(t, "alice", key("a"))
	m.bootstrap = alice.Addresses()[0]
	bob := m.with(t, "bob", key("a"))
	require.NoError(t, exchange(t, alice, bob))
	for name, alter := range map[string]func(c *kademlia.Config){"carol": func(*kademlia.Config) {}, "dave": key("d")} {
		node := m.with(t, name, alter)
		eventually(t, name+" has tried", func() bool { return strings.Contains(reached(t, node, "alice").Trouble, "or network_key differs") })
		require.False(t, connected(node, "alice"))
		require.False(t, connected(alice, name))
		require.Zero(t, node.Mesh().Nodes)
	}
}

// Two nodes enter by the same one, whose network has another name than that of one of them.
func TestNetworksOfDifferentNamesShareNoDirectory(t *testing.T) {
	noLeaks(t)
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	require.NoError(t, alice.Announce(t.Context(), []byte("of alice")))
	// Whoever is of the network finds her.
	profiles, err := start(t, m.node(t, "bob")).Watch(t.Context())
	require.NoError(t, err)
	see(t, profiles, "alice", "of alice")
	carol := m.with(t, "carol", func(c *kademlia.Config) { c.Network = "another" })
	eventually(t, "carol is connected, and has looked for alice", func() bool {
		return figure(carol, "mesh_nodes") > 0 && strings.Contains(reached(t, carol, "alice").Trouble, "no node is connected that could know one")
	})
	require.Zero(t, figure(carol, "mesh_directory_nodes"))
}

// relayed is two nodes that accept no connections, and a relay.
func relayed(t *testing.T) (m *mesh, alice, bob, relay *kademlia.Transport) {
	t.Helper()
	m = &mesh{names: []string{"alice", "bob"}, dirs: map[string]string{}}
	relay = m.with(t, "relay", func(c *kademlia.Config) { c.Relay.Serve = true })
	deaf := func(c *kademlia.Config) {
		c.Listen, c.Relays, c.Follow = []string{}, []string{relay.Addresses()[0]}, []string{"alice"}
	}
	return m, m.with(t, "alice", deaf), m.with(t, "bob", deaf), relay
}

func TestNodesThatNobodyReachesTalkOverARelay(t *testing.T) {
	noLeaks(t)
	_, alice, bob, _ := relayed(t)
	require.NoError(t, exchange(t, alice, bob))
	back := bob.Send(transports.Direct("alice"), numbered(1))
	receive(t, subscribe(t, alice, transports.Inbox)).Ack()
	require.NoError(t, result(t, back))
	require.Equal(t, "relayed", reached(t, alice, "bob").How)
	require.Equal(t, "relayed", reached(t, bob, "alice").How)
	for _, a := range alice.Addresses() {
		require.Contains(t, a, "/p2p-circuit/", "what alice says of herself")
	}

	// Direct frames, with more bytes than a relay of libp2p's passes on.
	in := subscribe(t, bob, transports.Inbox)
	for n := range 3 {
		large := message.NewMessage(fmt.Sprint("large-", n), make([]byte, 5<<20))
		sent := alice.Send(transports.Direct("bob"), large)
		got := receive(t, in)
		require.Len(t, got.Payload, 5<<20)
		got.Ack()
		require.NoError(t, result(t, sent))
	}

	// And broadcasts.
	frames := subscribe(t, bob, transports.Feed)
	eventually(t, "the feed is followed", func() bool { return place(bob, "alice").Taken > 0 })
	broadcast(t, alice, "alice", 1, 5, 0)
	broadcast(t, alice, "alice", 6, 7, 1<<20)
	broadcast(t, alice, "alice", 8, 10, 0)
	heard(t, frames, "alice", 1, 10)
}

func TestARelayThatWasRestartedIsUsedAgain(t *testing.T) {
	noLeaks(t)
	m, alice, bob, relay := relayed(t)
	require.NoError(t, exchange(t, alice, bob))
	at := port(relay)
	require.NoError(t, relay.Close())
	eventually(t, "they are apart", func() bool { return !connected(alice, "bob") && !connected(bob, "alice") })
	m.with(t, "relay", func(c *kademlia.Config) { c.Relay.Serve, c.Listen = true, []string{at} })
	require.NoError(t, exchange(t, alice, bob))
	require.Equal(t, "relayed", reached(t, alice, "bob").How)
}

// A relay that served everybody would be one for all the world.
func TestARelayServesItsPeersAlone(t *testing.T) {
	m := &mesh{names: []string{"alice", "bob"}, dirs: map[string]string{}}
	relay := m.with(t, "relay", func(c *kademlia.Config) { c.Relay.Serve = true })
	for name, served := range map[string]bool{"alice": true, "mallory": false} {
		h := bare(t, name)
		_, err := client.Reserve(t.Context(), h, peer.AddrInfo{ID: reach(t, h, relay)})
		if served {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, kademlia.PlainCause(err), "does not have this node in its peers", name)
	}
}

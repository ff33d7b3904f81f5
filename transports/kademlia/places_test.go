package kademlia_test

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia"
)

// Does a node give away the addresses that others can use, those that most can first, and each as they write it?
func TestPlacesAreThoseThatOthersReach(t *testing.T) {
	public := keyOf("alice").Public().(ed25519.PublicKey)
	id, err := kademlia.PeerID(public)
	require.NoError(t, err)
	end := "/p2p/" + id.String()
	const relay = "/dns4/relay.example/tcp/4001/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
	for _, tt := range []struct {
		name string
		c    kademlia.Config
		want []kademlia.Place
	}{
		{"loopback alone", kademlia.Config{Listen: []string{"/ip4/127.0.0.1/tcp/4001"}}, []kademlia.Place{{"/ip4/127.0.0.1/tcp/4001" + end, "from this machine alone", false}}},
		{"loopback beside others", kademlia.Config{Listen: []string{"/ip4/127.0.0.1/tcp/4001", "/ip4/192.168.1.2/tcp/4001"}}, []kademlia.Place{{"/ip4/192.168.1.2/tcp/4001" + end, "from the local network", false}}},
		{"the nearest last", kademlia.Config{
			Listen: []string{"/ip4/192.168.1.2/udp/4001/quic-v1", "/ip6/fe80::1/tcp/4001", "/ip4/8.8.8.8/tcp/4001", "/ip4/8.8.8.8/tcp/4001"},
			Relays: []string{relay}, Announce: []string{"/dns4/alice.example/tcp/4001"},
		}, []kademlia.Place{
			{"/dns4/alice.example/tcp/4001" + end, "announced", true},
			{"/ip4/8.8.8.8/tcp/4001" + end, "from everywhere", true},
			{relay + "/p2p-circuit" + end, "over a relay", true},
			{"/ip4/192.168.1.2/udp/4001/quic-v1" + end, "from the local network", false},
		}},
		{"another port at each start", kademlia.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"}}, nil},
		{"what is no address", kademlia.Config{Listen: []string{"", "127.0.0.1:4001"}}, nil},
		{"nothing", kademlia.Config{Listen: []string{}, Announce: []string{"/ip4/8.8.8.8/tcp/4001"}}, nil},
	} {
		places, err := tt.c.Places(public)
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.want, places, tt.name)
		for _, p := range places {
			c := kademlia.Config{Bootstrap: []string{p.Address}}
			c.SetDefaults()
			require.NoError(t, c.Validate(), "it goes into bootstrap")
		}
	}
}

// Every interface is listened on. Is each of its addresses given away, and no address that only stands for all?
func TestPlacesOfEveryInterface(t *testing.T) {
	var c kademlia.Config
	c.SetDefaults()
	places, err := c.Places(keyOf("alice").Public().(ed25519.PublicKey))
	require.NoError(t, err)
	require.NotEmpty(t, places)
	for _, p := range places {
		require.NotContains(t, p.Address, "/0.0.0.0/")
		require.NotContains(t, p.Address, "/ip6/::/")
		require.Equal(t, 1, strings.Count(p.Address, "4001/"), p.Address)
	}
}

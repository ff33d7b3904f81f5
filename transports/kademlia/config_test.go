package kademlia_test

import (
	"crypto/ed25519"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia"
)

func TestWhatIsWrongWithTheConfigurationIsSaidWithItsKey(t *testing.T) {
	const node = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo"
	public := func(name string) ed25519.PublicKey { return keyOf(name).Public().(ed25519.PublicKey) }
	for name, c := range map[string]struct {
		spoil func(c *kademlia.Config)
		want  string // "" where nothing is wrong
	}{
		"defaults": {func(*kademlia.Config) {}, ""},
		"everything given": {func(c *kademlia.Config) {
			c.Listen = []string{"/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"}
			c.Announce = []string{"/ip4/203.0.113.7/tcp/4001", "/dns4/example.org/tcp/4001"}
			c.Bootstrap, c.Relays = []string{node}, []string{node}
			c.Refresh, c.Network = time.Second, "a-mesh_1"
		}, ""},
		"listen on nothing":        {func(c *kademlia.Config) { c.Listen = []string{} }, ""},
		"network_key without QUIC": {func(c *kademlia.Config) { c.NetworkKey = strings.Repeat("0a", 32) }, ""},

		"listen: no multiaddress": {
			func(c *kademlia.Config) { c.Listen = []string{"0.0.0.0:4001"} },
			`listen[0]: "0.0.0.0:4001" is not a multiaddress`,
		},
		"listen: second entry": {
			func(c *kademlia.Config) { c.Listen = []string{"/ip4/0.0.0.0/tcp/4001", "/ip4/x/tcp/1"} },
			`listen[1]: "/ip4/x/tcp/1" is not a multiaddress`,
		},
		"listen: a node": {
			func(c *kademlia.Config) { c.Listen = []string{node} },
			`names a node; an address to listen on ends before /p2p`,
		},
		"listen: a name": {
			func(c *kademlia.Config) { c.Listen = []string{"/dns4/example.org/tcp/4001"} },
			`listen[0]: "/dns4/example.org/tcp/4001" has no IP address; listen on one that begins with /ip4 or /ip6`,
		},
		"listen: no port": {
			func(c *kademlia.Config) { c.Listen = []string{"/ip4/127.0.0.1"} },
			`listen[0]: "/ip4/127.0.0.1" is neither TCP nor QUIC; write /ip4/127.0.0.1/tcp/4001 or /ip4/127.0.0.1/udp/4001/quic-v1`,
		},
		"listen: no port, IPv6": {
			func(c *kademlia.Config) { c.Listen = []string{"/ip6/::1"} },
			`write /ip6/::1/tcp/4001 or /ip6/::1/udp/4001/quic-v1`,
		},
		"listen: UDP alone": {
			func(c *kademlia.Config) { c.Listen = []string{"/ip4/127.0.0.1/udp/4001"} },
			`is neither TCP nor QUIC`,
		},
		"listen: a web socket": {
			func(c *kademlia.Config) { c.Listen = []string{"/ip4/127.0.0.1/tcp/4001/ws"} },
			`listen[0]: "/ip4/127.0.0.1/tcp/4001/ws" is neither TCP nor QUIC`,
		},
		"listen: old QUIC": {
			func(c *kademlia.Config) { c.Listen = []string{"/ip4/127.0.0.1/udp/4001/quic"} },
			`is neither TCP nor QUIC`,
		},
		"listen: QUIC with network_key": {func(c *kademlia.Config) {
			c.Listen, c.NetworkKey = []string{"/ip4/0.0.0.0/udp/4001/quic-v1"}, strings.Repeat("0a", 32)
		}, `listen[0]: "/ip4/0.0.0.0/udp/4001/quic-v1" is QUIC, and network_key works over TCP alone`},
		"announce": {
			func(c *kademlia.Config) { c.Announce = []string{"example.org"} },
			`announce[0]: "example.org" is not a multiaddress`,
		},
		"bootstrap: no multiaddress": {
			func(c *kademlia.Config) { c.Bootstrap = []string{"example.org:4001"} },
			`bootstrap[0]: "example.org:4001" is not a multiaddress`,
		},
		"bootstrap: no node": {
			func(c *kademlia.Config) { c.Bootstrap = []string{"/ip4/192.0.2.1/tcp/4001"} },
			"bootstrap[0]: \"/ip4/192.0.2.1/tcp/4001\" does not end in /p2p/ID; paste the whole address that `weft id` prints there",
		},
		"bootstrap: no address": {
			func(c *kademlia.Config) {
				c.Bootstrap = []string{"/p2p/12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo"}
			},
			`bootstrap[0]: "/p2p/12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo" says who, and not where`,
		},
		"bootstrap: a name, and over a relay": {func(c *kademlia.Config) {
			_, id, _ := strings.Cut(node, "/p2p/")
			c.Bootstrap = []string{"/dns4/example.org/udp/4001/quic-v1/p2p/" + id, "/dnsaddr/example.org/p2p/" + id, node + "/p2p-circuit/p2p/" + id}
		}, ""},
		"bootstrap: no port": {
			func(c *kademlia.Config) { c.Bootstrap = []string{strings.Replace(node, "/tcp/4001", "", 1)} },
			`is neither TCP nor QUIC; behind the host stands /tcp/PORT or /udp/PORT/quic-v1`,
		},
		"bootstrap: UDP alone": {
			func(c *kademlia.Config) { c.Bootstrap = []string{strings.Replace(node, "/tcp/", "/udp/", 1)} },
			`is neither TCP nor QUIC`,
		},
		"announce: no port": {
			func(c *kademlia.Config) { c.Announce = []string{"/ip4/203.0.113.7"} },
			`announce[0]: "/ip4/203.0.113.7" is neither TCP nor QUIC`,
		},
		"relays": {
			func(c *kademlia.Config) { c.Relays = []string{"/ip4/192.0.2.1/tcp/4001"} },
			`relays[0]: "/ip4/192.0.2.1/tcp/4001" does not end in /p2p/ID`,
		},
		"network: empty":           {func(c *kademlia.Config) { c.Network = "" }, `network: "" is not a name; use 1 to 32 of a-z, 0-9, _ and -`},
		"network: capitals":        {func(c *kademlia.Config) { c.Network = "Weft" }, `network: "Weft" is not a name`},
		"network: slash":           {func(c *kademlia.Config) { c.Network = "a/b" }, `network: "a/b" is not a name`},
		"network_key: short":       {func(c *kademlia.Config) { c.NetworkKey = "0a" }, "network_key: not 64 hexadecimal digits; `openssl rand -hex 32` makes one"},
		"network_key: no digits":   {func(c *kademlia.Config) { c.NetworkKey = strings.Repeat("xy", 32) }, "network_key: not 64 hexadecimal digits"},
		"refresh: too often":       {func(c *kademlia.Config) { c.Refresh = time.Second - 1 }, "refresh: 999.999999ms is not in 1s to 12h0m0s"},
		"refresh: too rare":        {func(c *kademlia.Config) { c.Refresh = 12*time.Hour + 1 }, "is not in 1s to 12h0m0s"},
		"refresh: negative":        {func(c *kademlia.Config) { c.Refresh = -time.Minute }, "refresh: -1m0s is not in"},
		"log.bytes":                {func(c *kademlia.Config) { c.Log.Bytes = 1<<20 - 1 }, "log.bytes: 1048575 is less than 1MiB"},
		"log.age":                  {func(c *kademlia.Config) { c.Log.Age = time.Second }, "log.age: 1s is less than 1m"},
		"peers: no key":            {func(c *kademlia.Config) { c.Peers = []kademlia.Peer{{Name: "bob"}} }, "peer bob: "},
		"peers: a name twice":      {func(c *kademlia.Config) { c.Peers = []kademlia.Peer{{"bob", public("b")}, {"bob", public("c")}} }, `peer "bob": its name is another node's`},
		"peers: a key twice":       {func(c *kademlia.Config) { c.Peers = []kademlia.Peer{{"bob", public("b")}, {"carol", public("b")}} }, `peer "carol" has the key of peer "bob"`},
		"peers: the node's name":   {func(c *kademlia.Config) { c.Peers = []kademlia.Peer{{"alice", public("b")}} }, `peer "alice": its name is another node's`},
		"several are said at once": {func(c *kademlia.Config) { c.Network, c.Log.Age = "", 0 }, "network: \"\" is not a name; use 1 to 32 of a-z, 0-9, _ and -\nlog.age: 0s is less than 1m"},
	} {
		t.Run(name, func(t *testing.T) {
			config := kademlia.Config{Node: "alice"}
			config.SetDefaults()
			c.spoil(&config)
			_, err := kademlia.New(config, slog.New(slog.DiscardHandler))
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			if config.NetworkKey != "" {
				require.NotContains(t, err.Error(), config.NetworkKey)
			}
		})
	}
}

func TestANodeThatListsItselfIsToldSo(t *testing.T) {
	m := &mesh{names: []string{"bob"}, dirs: map[string]string{}}
	c := m.config(t, "alice")
	c.Peers = append(c.Peers, kademlia.Peer{Name: "me", Key: keyOf("alice").Public().(ed25519.PublicKey)})
	err := build(t, c).Start(t.Context()) // the key is known only then
	require.ErrorContains(t, err, `peer "me" has this node's own key; list the others only`)
}

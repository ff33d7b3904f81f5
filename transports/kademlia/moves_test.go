package kademlia_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia"
)

// libp2p looks at the machine's addresses once a minute. What has changed since is corrected, and nothing else.
func TestOwnAddressesAreCorrectedAsTheyChange(t *testing.T) {
	everywhere := []string{"/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1", "/ip6/::/tcp/4001"}
	old := []string{"/ip4/10.0.0.1/tcp/4001", "/ip4/10.0.0.1/udp/4001/quic-v1", "/ip4/203.0.113.5/tcp/4001"} // the last one a router's
	moved := []string{old[2], "/ip4/10.0.0.2/tcp/4001", "/ip4/10.0.0.2/udp/4001/quic-v1"}
	more := append(old[:3:3], "/ip6/2001:db8::1/tcp/4001")
	for _, tt := range []struct {
		name        string
		before, now []string
		listen      []string
		want        []string
	}{
		{"nothing has changed", []string{"10.0.0.1"}, []string{"10.0.0.1"}, everywhere, old},
		{"another address", []string{"10.0.0.1"}, []string{"10.0.0.2"}, everywhere, moved},
		{"one more, of another kind", []string{"10.0.0.1"}, []string{"10.0.0.1", "2001:db8::1", "fe80::1"}, everywhere, more},
		{"where it does not listen", []string{"10.0.0.1"}, []string{"10.0.0.1", "10.0.0.2"}, []string{"/ip4/10.0.0.1/tcp/4001"}, old},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.ElementsMatch(t, tt.want, kademlia.CorrectAddresses(tt.before, tt.now, old, tt.listen))
		})
	}
}

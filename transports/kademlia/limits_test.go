package kademlia_test

import (
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia"
)

// resources are the limits of a node that lists alice.
func resources(t *testing.T) network.ResourceManager {
	t.Helper()
	r, err := kademlia.NewResources([]peer.ID{idOf(t, "alice")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// connect is a connection of a node that comes from the address, up to where the node has proven its key.
func connect(r network.ResourceManager, id peer.ID, ip string) (network.ConnManagementScope, error) {
	m, err := multiaddr.NewMultiaddr("/ip4/" + ip + "/tcp/4001")
	if err != nil {
		return nil, err
	}
	c, err := r.OpenConnection(network.DirInbound, true, m)
	if err != nil {
		return nil, err
	}
	if err := c.SetPeer(id); err != nil {
		c.Done()
		return nil, err
	}
	return c, nil
}

// flood connects strangers, each with a key and an address of its own, until one is refused.
func flood(t *testing.T, r network.ResourceManager, each func(stranger peer.ID)) (count int) {
	t.Helper()
	for ; count < 1000; count++ {
		id := idOf(t, fmt.Sprint("stranger", count))
		if _, err := connect(r, id, fmt.Sprintf("198.51.%d.%d", count/250, count%250)); err != nil {
			require.ErrorIs(t, err, network.ErrResourceLimitExceeded)
			return count
		}
		each(id)
	}
	return count
}

func TestAListedPeerGetsInDuringAConnectionFlood(t *testing.T) {
	r := resources(t)
	count := flood(t, r, func(peer.ID) {})
	require.Less(t, count, 200)
	_, err := connect(r, idOf(t, "mallory"), "203.0.113.1")
	require.Error(t, err)
	for i := range 4 {
		c, err := connect(r, idOf(t, "alice"), fmt.Sprintf("203.0.113.%d", i+1))
		require.NoError(t, err)
		defer c.Done()
	}
	_, err = connect(r, idOf(t, "alice"), "203.0.113.9")
	require.Error(t, err, "a fifth connection of the same peer")
}

func TestWhoeverHasNotProvenAKeyYetIsBounded(t *testing.T) {
	r := resources(t)
	open := 0
	for ; open < 1000; open++ {
		m := multiaddr.StringCast(fmt.Sprintf("/ip4/198.51.%d.%d/tcp/4001", open/250, open%250))
		if _, err := r.OpenConnection(network.DirInbound, true, m); err != nil {
			break
		}
	}
	require.Less(t, open, 250)
}

func TestOneAddressHasNotAllConnections(t *testing.T) {
	r := resources(t)
	count := 0
	for i := range 1000 {
		if _, err := connect(r, idOf(t, fmt.Sprint("stranger", i)), "198.51.100.1"); err == nil {
			count++
		}
	}
	require.LessOrEqual(t, count, 32)
	_, err := connect(r, idOf(t, "mallory"), "198.51.100.2")
	require.NoError(t, err)
}

func TestStrangersHaveFewStreamsAndLittleMemoryAndPeersTheirOwn(t *testing.T) {
	r := resources(t)
	var memory, streams int
	take := func(id peer.ID) {
		for {
			s, err := r.OpenStream(id, network.DirInbound)
			if err != nil {
				break
			}
			streams++
			require.NoError(t, s.SetProtocol("/weft/weft/kad/1.0.0")) // negotiated, and then held
			_ = r.ViewPeer(id, func(p network.PeerScope) error {
				if p.ReserveMemory(256<<10, network.ReservationPriorityAlways) == nil { // the buffer of a stream
					memory += 256 << 10
				}
				return nil
			})
		}
	}
	count := flood(t, r, take)
	require.LessOrEqual(t, streams, 24*count)
	require.LessOrEqual(t, memory, count*4<<20)

	alice := idOf(t, "alice")
	_, err := connect(r, alice, "203.0.113.1")
	require.NoError(t, err)
	s, err := r.OpenStream(alice, network.DirInbound)
	require.NoError(t, err)
	require.NoError(t, s.SetProtocol("/weft/direct/1"))
	require.NoError(t, r.ViewPeer(alice, func(p network.PeerScope) error {
		return p.ReserveMemory(4<<20, network.ReservationPriorityAlways)
	}), "memory for a window of a listed peer while all strangers have all they can get")
	for range 3 {
		s, err := r.OpenStream(alice, network.DirInbound)
		require.NoError(t, err)
		require.NoError(t, s.SetProtocol("/weft/direct/1"))
	}
	s, err = r.OpenStream(alice, network.DirInbound)
	require.NoError(t, err)
	require.Error(t, s.SetProtocol("/weft/direct/1"), "a fifth stream of frames of the same peer")
}

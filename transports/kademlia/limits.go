package kademlia

import (
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	relayv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/multiformats/go-multiaddr"
)

const (
	// maxFrame is the largest frame in bytes, direct or broadcast.
	maxFrame = 16 << 20
	// What is in flight to one peer, or was read from one and is not taken: so many frames, and so many bytes or one frame.
	windowFrames = 64
	windowBytes  = 4 << 20
	// inboxBytes is how many bytes of direct frames of all peers together are in memory until they are taken, those that are being read
	// included: a peer for which there is no room waits, and its sender is told that this node lives.
	inboxBytes = 8 * maxFrame

	mebibyte = 1 << 20
)

// What a stranger may use: a few streams of the directory's, of gossip and of feeds, each with its buffers. All strangers together, who
// are no more than the connections, fit into the system's memory beside the peers.
const (
	strangerStreams = 48
	strangerMemory  = 4 * mebibyte
	// knownMemory is what a peer, or a node to enter the mesh by, may use: a stream over a link with much delay needs a large buffer.
	knownMemory = 64 * mebibyte
	// connsPerAddress is how many connections come from one IP address, or one /56 of IPv6: nodes may share a router.
	connsPerAddress = 32
)

// limits returns what strangers and the nodes that the configuration names may use of this node. They are chosen for what a node does:
// streams of a few protocols with its own peers, each with a window of frames in memory, and a directory's small messages with everybody
// else. A connection flood ends at the connections, a stream flood at the streams of its peer, a memory flood at the memory of its peer.
// What is over the limit shows as a reset stream.
func limits(known []peer.ID) rcmgr.ConcreteLimitConfig {
	defaults := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&defaults) // identify, ping, relay, autonat, hole punching
	peers := len(known)
	conns, streams := acceptedConns+2*peers, 32*(acceptedConns+2*peers)
	own := map[protocol.ID]rcmgr.ResourceLimits{}
	each := map[protocol.ID]rcmgr.ResourceLimits{}
	for _, p := range []protocol.ID{protocolDirect, protocolLog, protocolProfile} {
		own[p] = rcmgr.ResourceLimits{
			Streams: rcmgr.LimitVal(8*peers + 64), StreamsInbound: rcmgr.LimitVal(4*peers + 32), StreamsOutbound: rcmgr.LimitVal(4*peers + 32),
			Memory: rcmgr.Unlimited64, // the system's and the peer's bound it
		}
		each[p] = rcmgr.ResourceLimits{Streams: 8, StreamsInbound: 4, StreamsOutbound: 4, Memory: 2 * maxFrame}
	}
	configured := map[peer.ID]rcmgr.ResourceLimits{}
	for _, id := range known {
		configured[id] = rcmgr.ResourceLimits{
			Conns: 8, ConnsInbound: 4, ConnsOutbound: 8, FD: 8,
			Streams: 128, StreamsInbound: 64, StreamsOutbound: 128, Memory: knownMemory,
		}
	}
	return rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: rcmgr.LimitVal(2 * conns), ConnsInbound: rcmgr.LimitVal(conns), ConnsOutbound: rcmgr.LimitVal(2 * conns),
			Streams: rcmgr.LimitVal(2 * streams), StreamsInbound: rcmgr.LimitVal(streams), StreamsOutbound: rcmgr.LimitVal(2 * streams),
			FD: rcmgr.LimitVal(2 * conns), Memory: rcmgr.LimitVal64(conns*strangerMemory + peers*windowBytes),
		},
		Transient: rcmgr.ResourceLimits{
			Conns: rcmgr.LimitVal(conns), ConnsInbound: rcmgr.LimitVal(conns / 2), ConnsOutbound: rcmgr.LimitVal(conns),
			Streams: rcmgr.LimitVal(streams), StreamsInbound: rcmgr.LimitVal(streams / 2), StreamsOutbound: rcmgr.LimitVal(streams),
			FD: rcmgr.LimitVal(conns), Memory: 32 * mebibyte,
		},
		// Only nodes that the configuration names, and whoever has not said yet who he is, come in by these, once the others are used up.
		AllowlistedSystem: rcmgr.ResourceLimits{
			Conns: rcmgr.LimitVal(8*peers + 64), ConnsInbound: rcmgr.LimitVal(4*peers + 64), ConnsOutbound: rcmgr.LimitVal(8*peers + 64),
			FD: rcmgr.LimitVal(8*peers + 64),
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: 8, ConnsInbound: 2, ConnsOutbound: 8, FD: 8,
			Streams: strangerStreams, StreamsInbound: strangerStreams / 2, StreamsOutbound: strangerStreams, Memory: strangerMemory,
		},
		Peer: configured, Protocol: own, ProtocolPeer: each,
		// Of any other protocol, such as the directory's, nobody's streams take away those of others: each node's own limit holds.
		ProtocolDefault: rcmgr.ResourceLimits{
			Streams: rcmgr.LimitVal(2 * streams), StreamsInbound: rcmgr.LimitVal(streams), StreamsOutbound: rcmgr.LimitVal(2 * streams),
			Memory: rcmgr.Unlimited64,
		},
	}.Build(defaults.Scale(256*mebibyte, 1024))
}

// newResources returns what holds everybody to the limits. However many strangers there are, a node that the configuration names gets in.
func newResources(known []peer.ID) (network.ResourceManager, error) {
	var anywhere []multiaddr.Multiaddr
	for _, id := range known {
		for _, all := range []string{"/ip4/0.0.0.0/ipcidr/0/p2p/", "/ip6/::/ipcidr/0/p2p/"} {
			m, err := multiaddr.NewMultiaddr(all + id.String())
			if err != nil {
				return nil, err
			}
			anywhere = append(anywhere, m)
		}
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits(known)),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithAllowlistedMultiaddrs(anywhere),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: connsPerAddress}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: connsPerAddress}, {PrefixLength: 48, ConnCount: 2 * connsPerAddress}},
		),
	)
}

// relayResources is what a relay gives to those whom nobody reaches directly. What goes over it has no limit in time and bytes: libp2p
// keeps gossip and the directory off connections that have one, for its own relays are only meant for finding a direct way. The numbers of
// places and circuits are limited, and with them memory.
func relayResources() relayv2.Resources {
	r := relayv2.DefaultResources()
	r.Limit = nil
	r.BufferSize = 16 << 10
	r.MaxReservationsPerIP, r.MaxReservationsPerASN = connsPerAddress, r.MaxReservations
	return r
}

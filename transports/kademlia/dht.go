package kademlia

import (
	"context"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	dhtrecord "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

const (
	// recordAge is how long a record stays in the directory without being put there again.
	recordAge = 24 * time.Hour
	// tableRefresh is how often a node looks for others for each part of its routing table, as in the paper (Maymounkov and Mazières, 2.3).
	// kad-dht's 10 minutes are for IPFS, whose nodes come and go: of 6.6 MB that the directory of 10,000 nodes would send an hour and node,
	// 5.3 were for that. Every look-up renews the table too, and takes out whoever does not answer.
	tableRefresh = time.Hour
	// What this node keeps for others, in bytes.
	recordShelf   = 16 << 20
	followerShelf = 4 << 20
)

// openDHT joins the directory of the network's name. Every node keeps a part of it, unless it knows that nobody can reach it.
func (t *Transport) openDHT() (err error) {
	t.dht, err = dht.New(t.host,
		dht.ProtocolPrefix(protocol.ID("/weft/"+t.config.Network)),
		dht.Mode(dht.ModeAutoServer),
		dht.Validator(dhtrecord.NamespacedValidator{namespace: validator{}}), // nothing else is kept
		dht.ValueDatastore(newShelf(recordShelf)),
		dht.ProviderDatastore(newShelf(followerShelf)),
		dht.MaxRecordAge(recordAge),
		dht.RoutingTableRefreshPeriod(tableRefresh),
		dht.OnRequestHook(func(_ context.Context, _ network.Stream, asked *pb.Message) { t.answers.add(question(asked)) }),
	)
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	t.closing = append(t.closing, t.dht.Close)
	return t.dht.Bootstrap(t.ctx)
}

// question returns what kind of question another node asks.
func question(asked *pb.Message) string {
	switch asked.GetType() {
	case pb.Message_PUT_VALUE:
		return "put"
	case pb.Message_GET_VALUE:
		return "get"
	case pb.Message_ADD_PROVIDER:
		return "following"
	case pb.Message_GET_PROVIDERS:
		return "followers"
	case pb.Message_FIND_NODE:
		return "node"
	default:
		return "other"
	}
}

// openMDNS looks for nodes of the network on the local one.
func (t *Transport) openMDNS() error {
	if !t.config.MDNS || onlyLoopback(t.config.listen()) {
		return nil
	}
	service := mdns.NewMdnsService(t.host, "_weft-"+t.config.Network+"._udp", nearby{t, make(chan struct{}, maxNearby)})
	if err := service.Start(); err != nil {
		t.log.Warn("nodes on the local network are not looked for", "error", err)
		return nil
	}
	t.closing = append(t.closing, service.Close)
	return nil
}

// maxNearby is how many nodes of the local network are dialed at a time.
const maxNearby = 8

// nearby takes what is found on the local network, where anybody can say that there are any number of nodes.
type nearby struct {
	t     *Transport
	seats chan struct{}
}

// HandlePeerFound implements mdns.Notifee. A peer is connected at once; any other node is one to enter the mesh by. One for whom there
// is no seat is found again. It is called in a goroutine of its own.
func (n nearby) HandlePeerFound(info peer.AddrInfo) {
	select {
	case n.seats <- struct{}{}:
		defer func() { <-n.seats }()
	default:
		return
	}
	if info.ID == n.t.host.ID() || !n.t.enter() {
		return
	}
	defer n.t.work.Done()
	ctx, cancel := context.WithTimeout(n.t.ctx, dialTimeout)
	defer cancel()
	if err := n.t.host.Connect(ctx, info); err != nil {
		n.t.log.Debug("node on the local network not reached", "id", info.ID, "error", plainDial(err))
	}
}

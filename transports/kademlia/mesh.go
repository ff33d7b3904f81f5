package kademlia

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/weft-relay/weft/transports"
)

// Addresses returns where other nodes reach this one as far as it knows, each as it is written in their bootstrap.
func (t *Transport) Addresses() (all []string) {
	if !t.running() {
		return nil
	}
	addrs := t.host.Addrs()
	if far := slices.DeleteFunc(slices.Clone(addrs), manet.IsIPLoopback); len(far) > 0 { // only this machine reaches itself by the others
		addrs = far
	}
	for _, a := range addrs {
		all = append(all, a.String()+"/p2p/"+t.host.ID().String())
	}
	return all
}

// mesh returns what this node sees of the mesh now.
func (t *Transport) mesh() *transports.Mesh {
	m := &transports.Mesh{Addresses: t.Addresses(), Public: t.public()}
	if t.running() {
		m.ID, m.Nodes = t.host.ID().String(), len(t.host.Network().Peers())
	}
	for _, p := range t.peers {
		m.Peers = append(m.Peers, t.reach(p))
	}
	slices.SortFunc(m.Peers, func(a, b transports.Reach) int { return strings.Compare(a.Peer, b.Peer) })
	return m
}

const (
	unreachable = "unreachable"
	wayRelayed  = "relayed"
)

func (t *Transport) reach(p *neighbour) transports.Reach {
	r := transports.Reach{Peer: p.name, ID: p.id.String(), How: unreachable, Profile: t.directory.version(p.name), InFlight: p.outbox.len()}
	p.mu.Lock()
	r.Since = p.since
	if p.trouble != nil {
		r.Trouble = p.trouble.Error()
	}
	p.mu.Unlock()
	if t.running() {
		if c := best(t.host.Network().ConnsToPeer(p.id)); c != nil {
			r.Latency = t.host.Peerstore().LatencyEWMA(p.id)
			r.How, r.Address = way(c), c.RemoteMultiaddr().String()
		}
		if f := t.feeds.byOrigin[p.id]; f != nil {
			r.Feed = f.place()
		}
	}
	return r
}

// best returns the connection that streams are opened on: a direct one before one over a relay.
func best(conns []network.Conn) (found network.Conn) {
	for _, c := range conns {
		if found == nil || way(found) == wayRelayed && way(c) != wayRelayed {
			found = c
		}
	}
	return found
}

func way(c network.Conn) string {
	switch addr := c.RemoteMultiaddr().String(); {
	case strings.Contains(addr, "/p2p-circuit"):
		return wayRelayed
	case isQUIC(addr):
		return "direct QUIC"
	default:
		return "direct TCP"
	}
}

// Ping implements transports.Pinger.
func (t *Transport) Ping(ctx context.Context, name string) (time.Duration, error) {
	p := t.byName[name]
	switch {
	case p == nil:
		return 0, fmt.Errorf("%q is not in the peers of this node", name)
	case !t.running():
		return 0, errClosed
	case p.absent():
		p.mu.Lock()
		defer p.mu.Unlock()
		return 0, fmt.Errorf("%s is not connected since %s: %w", name, p.since.Format(time.RFC3339), orUnknown(p.trouble))
	}
	ctx, cancel := context.WithCancel(limited(ctx))
	defer cancel()
	select {
	case result, ok := <-ping.Ping(ctx, t.host, p.id):
		if !ok {
			return 0, ctx.Err()
		}
		return result.RTT, result.Error
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func orUnknown(err error) error {
	if err == nil {
		return errors.New("no attempt has ended yet")
	}
	return err
}

// metrics returns the figures that no other transport has.
func (t *Transport) metrics() []transports.Metric {
	if !t.running() {
		return nil
	}
	gauge := func(name, help string, value int) transports.Metric {
		return transports.Metric{Name: name, Help: help, Of: map[string]float64{"": float64(value)}}
	}
	sent, received, streams := map[string]float64{}, map[string]float64{}, map[string]float64{}
	for id, of := range t.traffic.GetBandwidthByProtocol() {
		sent[string(id)], received[string(id)] = float64(of.TotalOut), float64(of.TotalIn)
	}
	for _, c := range t.host.Network().Conns() {
		for _, s := range c.GetStreams() {
			streams[string(s.Protocol())]++
		}
	}
	gaps, fetched, missed := map[string]float64{}, map[string]float64{}, map[string]float64{}
	for _, f := range t.feeds.followed {
		gaps[f.peer.name], fetched[f.peer.name] = float64(f.gaps.Load()), float64(f.fetched.Load())
		missed[f.peer.name] = float64(f.place().Missed)
	}
	return []transports.Metric{
		gauge("mesh_nodes", "Nodes that are connected, listed or not.", len(t.host.Network().Peers())),
		gauge("mesh_directory_nodes", "Nodes in the routing table of the directory.", t.dht.RoutingTable().Size()),
		{Name: "mesh_lookups_total", Help: "Questions to the directory, by kind.", Counter: true, Label: "kind", Of: t.lookups.all()},
		{Name: "mesh_directory_answers_total", Help: "Questions of other nodes to the directory that came to this one, by kind.", Counter: true, Label: "kind", Of: t.answers.all()},
		{Name: "mesh_gossip_messages_total", Help: "Broadcast messages that were sent, and that came: new ones, duplicate ones and rejected ones.", Counter: true, Label: "kind", Of: t.gossiped.all()},
		{Name: "mesh_streams", Help: "Open streams, by protocol.", Label: "protocol", Of: streams},
		{Name: "mesh_sent_bytes_total", Help: "Bytes sent, by protocol.", Counter: true, Label: "protocol", Of: sent},
		{Name: "mesh_received_bytes_total", Help: "Bytes received, by protocol.", Counter: true, Label: "protocol", Of: received},
		{Name: "mesh_feed_gaps_total", Help: "Times that entries of a feed were found to be missing here.", Counter: true, Label: "peer", Of: gaps},
		{Name: "mesh_feed_fetched_total", Help: "Entries of a feed that were fetched, because gossip had not brought them.", Counter: true, Label: "peer", Of: fetched},
		{Name: "mesh_feed_missed_total", Help: "Entries of a feed that were gone before they could be had.", Counter: true, Label: "peer", Of: missed},
	}
}

// public says whether strangers reach this node, as far as others have tried.
func (t *Transport) public() string {
	switch network.Reachability(t.reachable.Load()) {
	case network.ReachabilityPublic:
		return "yes"
	case network.ReachabilityPrivate:
		return "no"
	default:
		return "unknown"
	}
}

// version returns the number of the newest profile of a peer that is known; 0 while none is.
func (d *directory) version(name string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known[name].seq
}

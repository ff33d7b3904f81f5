package kademlia

import (
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
)

// watchConnections tells the neighbours which of them are connected, until the transport is closed.
func (t *Transport) watchConnections(connectedness, identified, reachability event.Subscription) {
	for {
		select {
		case e, ok := <-connectedness.Out():
			if !ok {
				return
			}
			change := e.(event.EvtPeerConnectednessChanged)
			if p := t.byID[change.Peer]; p != nil {
				t.connectionChanged(p, change.Connectedness)
			}
		case e, ok := <-identified.Out():
			if !ok {
				return
			}
			id := e.(event.EvtPeerIdentificationCompleted).Peer
			if p := t.byID[id]; p != nil {
				t.met(p)
			}
		case e, ok := <-reachability.Out():
			if !ok {
				return
			}
			t.reachable.Store(int32(e.(event.EvtLocalReachabilityChanged).Reachability))
		case <-t.ctx.Done():
			return
		}
	}
}

// connectionChanged takes what the network says of the neighbour's connections.
func (t *Transport) connectionChanged(p *neighbour, now network.Connectedness) {
	connected := now == network.Connected || now == network.Limited
	if !p.setConnected(connected) {
		return
	}
	t.noteState()
	switch {
	case !connected:
		t.log.Info("peer is not connected any more", "peer", p.label())
	default:
		t.log.Info("peer is connected", "peer", p.label())
		if p.met.Swap(true) {
			t.status.reconnects.Add(1)
		}
	}
}

// met is called when a neighbour has said who it is and where.
func (t *Transport) met(p *neighbour) {
	if err := t.book.remember(p.id, t.host.Peerstore().Addrs(p.id)); err != nil {
		t.log.Warn("where a peer is cannot be kept for the next start", "peer", p.label(), "error", err)
	}
	t.directory.push(p)
	t.feeds.met(p)
	t.rivals(p)
	t.punch(p)
}

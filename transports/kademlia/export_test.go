package kademlia

import (
	"context"
	"crypto/ed25519"
)

// Offered reports whether the directory was told that this node follows a peer's feed.
func (t *Transport) Offered(peer string) bool {
	for _, f := range t.feeds.followed {
		if f.peer.name == peer {
			return f.offered.Load() > 0
		}
	}
	return false
}

// Version returns the number of the newest profile of a node that is known; 0 while none is.
func (t *Transport) Version(node string) uint64 { return t.directory.version(node) }

// LookUp asks the directory for the profile of any node, and returns its number.
func (t *Transport) LookUp(ctx context.Context, of ed25519.PublicKey) (uint64, error) {
	id, err := PeerID(of)
	if err != nil {
		return 0, err
	}
	r, err := t.directory.get(ctx, newNeighbour("", id))
	return r.seq, err
}

// RefreshTable looks for nodes for every part of the routing table of the directory.
func (t *Transport) RefreshTable() error { return <-t.dht.ForceRefresh() }

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weft-relay/weft/transports"
)

// A transport's account of itself, in which the peers of a mesh have the names that this node's file gives them.
type (
	// Report is a transport's or the broker's own account of itself.
	Report = transports.Report
	// Mesh is what a node sees of a mesh.
	Mesh = transports.Mesh
	// Reach is how a node reaches a peer there.
	Reach = transports.Reach
	// FeedPlace is how far a node is with a peer's broadcasts there.
	FeedPlace = transports.FeedPlace
)

// report returns a transport's account of itself.
func (n *Node) report(transport string) Report {
	r := n.transports[transport].Report()
	if r.Mesh == nil {
		return r
	}
	m := *r.Mesh
	m.Peers = slices.Clone(m.Peers)
	for i := range m.Peers {
		for _, p := range n.cfg.Peers {
			if p.On(transport) == m.Peers[i].Peer {
				m.Peers[i].Peer = p.Name
				break
			}
		}
	}
	r.Mesh = &m
	return r
}

// Errors of [Node.Ping] that no answer could cure.
var (
	// ErrNoPeer is returned where the node lists no peer of that name.
	ErrNoPeer = errors.New("no such peer")
	// ErrNoMesh is returned where the transport, or every transport, is none whose nodes are connected straight to each other.
	ErrNoMesh = errors.New("no mesh")
)

// Echo is the answer of a peer.
type Echo struct {
	Peer      string        `json:"peer"`
	Transport string        `json:"transport"` // that it came over
	Time      time.Duration `json:"time_ns"`   // from the question to the answer
}

// Ping asks a peer for an answer over the transport that is named, or else over each mesh until one brings it.
func (n *Node) Ping(ctx context.Context, peer, transport string) (Echo, error) {
	at := slices.IndexFunc(n.cfg.Peers, func(p Peer) bool { return p.Name == peer })
	if at < 0 {
		return Echo{}, fmt.Errorf("%w as %q; `weft peers` shows those of the node", ErrNoPeer, peer)
	}
	meshes := n.meshes()
	switch {
	case len(meshes) == 0:
		return Echo{}, fmt.Errorf("%w: the node has no transport whose nodes are connected straight to each other, such as type kademlia", ErrNoMesh)
	case transport != "" && !slices.Contains(meshes, transport):
		return Echo{}, fmt.Errorf("%w named %q; there is: %s", ErrNoMesh, transport, strings.Join(meshes, ", "))
	case transport != "":
		meshes = []string{transport}
	}
	var errs []error
	for _, name := range meshes {
		took, err := n.transports[name].(transports.Pinger).Ping(ctx, n.cfg.Peers[at].On(name))
		if err == nil {
			return Echo{Peer: peer, Transport: name, Time: took}, nil
		}
		errs = append(errs, fmt.Errorf("transport %s: %w", name, err))
	}
	return Echo{}, errors.Join(errs...)
}

// meshes returns the names of the transports that are one.
func (n *Node) meshes() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(n.transports)) {
		if _, ok := n.transports[name].(transports.Pinger); ok {
			names = append(names, name)
		}
	}
	return names
}

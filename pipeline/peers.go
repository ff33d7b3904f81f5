package pipeline

import (
	"fmt"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/identity"
)

// peer is a listed peer, ready to exchange frames with. Its index is its place in the configuration.
type peer struct {
	Peer
	index  int
	sealer *identity.Sealer
	opener *identity.Opener
}

// newPeers readies the peers of the node. Each needs a key: no transport built in so far authenticates names itself.
func newPeers(node string, id *identity.Identity, list []Peer) ([]*peer, error) {
	peers := make([]*peer, len(list))
	for i, p := range list {
		to, err := identity.NewRecipient(p.Key)
		if err != nil {
			return nil, fmt.Errorf("peer %s: %w", p.Name, err)
		}
		peers[i] = &peer{
			Peer: p, index: i,
			sealer: to.Sealer(frame.SealInfo(node, p.Name)), opener: id.Opener(frame.SealInfo(p.Name, node)),
		}
	}
	return peers, nil
}

// byName finds a peer by the name it gives itself.
func byName(peers []*peer) map[string]*peer {
	m := make(map[string]*peer, len(peers))
	for _, p := range peers {
		m[p.Name] = p
	}
	return m
}

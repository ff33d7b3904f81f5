package pipeline

import (
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/transports"
)

// peer is a listed peer, ready to exchange frames with. Its index is its place in the configuration.
type peer struct {
	Peer
	index  int
	open   []string         // the transports that authenticate names
	sealer *identity.Sealer // nil for a peer without a key
	opener *identity.Opener
}

// reachedOver is [Peer.ReachedOver] for the transports that there are.
func (p *peer) reachedOver(transport string) bool {
	return p.ReachedOver(transport, slices.Contains(p.open, transport))
}

// newPeers readies the peers of the node, open being the transports that authenticate names. A peer without a key needs one of them.
func newPeers(node string, id *identity.Identity, list []Peer, open []string) ([]*peer, error) {
	peers := make([]*peer, len(list))
	for i, p := range list {
		peers[i] = &peer{Peer: p, index: i, open: open, opener: id.Opener(frame.SealInfo(p.Name, node))}
		if len(p.Key) == 0 {
			if !slices.ContainsFunc(open, peers[i].reachedOver) {
				return nil, fmt.Errorf("peer %s: no key, and no transport that authenticates names reaches it", p.Name)
			}
			continue
		}
		to, err := identity.NewRecipient(p.Key)
		if err != nil {
			return nil, fmt.Errorf("peer %s: %w", p.Name, err)
		}
		peers[i].sealer = to.Sealer(frame.SealInfo(node, p.Name))
	}
	return peers, nil
}

// users are peers by names that are authenticated: on a transport whose network does that, or that kept frames were proven to be from.
// Nil where nothing authenticates names.
type users map[string]*peer

// usersOf returns the peers that are reached over the transport, which authenticates names.
func usersOf(peers []*peer, transport string) users {
	all := make(users, len(peers))
	for _, p := range peers {
		if name := p.On(transport); name != "" && p.reachedOver(transport) {
			all[name] = p
		}
	}
	return all
}

// sender returns the peer that the network has authenticated as the sender of what came, or nil where there is none.
func (u users) sender(msg *message.Message) *peer { return u[msg.Metadata[transports.MetaFrom]] }

// byName finds a peer by the name it gives itself.
func byName(peers []*peer) users {
	m := make(users, len(peers))
	for _, p := range peers {
		m[p.Name] = p
	}
	return m
}

package plugins

import (
	"crypto/ed25519"
	"log/slog"
	"path/filepath"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// newKademlia fills in what the node knows. What the mesh keeps on disk is in the node's data directory, by the transport's name.
func newKademlia(c *kademlia.Config, n node, log *slog.Logger) (transports.Transport, error) {
	config := *c
	config.Node, config.Key, config.DataDir = n.name, n.key, filepath.Join(n.dataDir, "mesh-"+n.transport)
	for _, p := range n.peers {
		config.Peers = append(config.Peers, kademlia.Peer{Name: p.name, Key: p.key})
		config.Follow = append(config.Follow, p.name)
	}
	t, err := kademlia.New(config, log)
	if err != nil {
		return nil, err // not t, which would be an interface that is not nil
	}
	return t, nil
}

// MeshID returns what the node with that key is called in a mesh: the end of its addresses there, after /p2p/.
func MeshID(key ed25519.PublicKey) (string, error) {
	id, err := kademlia.PeerID(key)
	return id.String(), err
}

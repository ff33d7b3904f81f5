package plugins

import (
	"crypto/ed25519"
	"log/slog"
	"path/filepath"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/transports/kademlia"
)

// newKademlia fills in what the node knows. What the mesh keeps on disk is in the node's data directory, by the transport's name.
func newKademlia(c *kademlia.Config, n node, log *slog.Logger) (*kademlia.Transport, error) {
	config := *c
	config.Node, config.Key, config.DataDir = n.Name, n.Key, filepath.Join(n.DataDir, "mesh-"+n.Transport)
	for _, p := range n.Peers {
		config.Peers = append(config.Peers, kademlia.Peer{Name: p.Name, Key: p.Key})
		config.Follow = append(config.Follow, p.Name)
	}
	return kademlia.New(config, log)
}

// MeshID returns the name that the owner of the key has in a mesh: the ID in "/p2p/ID", which ends its addresses.
func MeshID(key ed25519.PublicKey) (string, error) {
	id, err := kademlia.PeerID(key)
	return id.String(), err
}

// Mesh is a transport whose nodes connect to each other, with the addresses of this one to give away.
type Mesh struct {
	Transport string // its name in the configuration
	Places    []kademlia.Place
}

// Meshes returns the file's meshes as the node with that key is reached on them, without starting anything.
func Meshes(file *configs.File, key ed25519.PublicKey) ([]Mesh, error) {
	var all []Mesh
	for _, t := range file.Transports {
		c, ok := t.Config.(*kademlia.Config)
		if !ok {
			continue
		}
		places, err := c.Places(key)
		if err != nil {
			return nil, err
		}
		all = append(all, Mesh{t.Name, places})
	}
	return all, nil
}

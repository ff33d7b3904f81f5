package transports

import "crypto/ed25519"

// Node is what a transport may need to know of the node that it serves, beside what its owner configures.
type Node struct {
	Name      string
	Transport string                             // the name of this transport in the node's configuration
	DataDir   string                             // where the transport may keep files; it need not exist
	Key       func() (ed25519.PrivateKey, error) // the node's identity, made where there is none: not to be called before Start
	Peers     []Peer                             // those that are reached over this transport
}

// Peer is another node as a transport knows it.
type Peer struct {
	Name string            // on the transport
	Key  ed25519.PublicKey // nil where the network proves names itself
}

// Names returns the peers' names on the transport.
func (n Node) Names() (all []string) {
	for _, p := range n.Peers {
		all = append(all, p.Name)
	}
	return all
}

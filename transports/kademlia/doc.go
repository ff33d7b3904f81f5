// Package kademlia is the transport over a mesh of the nodes themselves, with no server: libp2p connections between nodes that find each
// other through a Kademlia directory that they keep together.
package kademlia

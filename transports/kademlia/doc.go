// Package kademlia is the transport over a mesh of the nodes themselves, with no server: libp2p connections between nodes that find each
// other through a Kademlia directory which they keep together. A node's name in the mesh is its Ed25519 key, so that a listed peer's key is
// all there is to know of it, and nobody can speak under another's name.
//
// A node keeps a connection to each listed peer: by the addresses of the configuration, those it was reached at last, those that the
// local network shows, and those that the directory knows.
//
//   - Direct frames go over a stream to the peer ([Transport.Send]); it confirms them once the subscriber has taken them. What a
//     broken stream leaves unconfirmed goes over the next one.
//   - Broadcasts are entries of the node's feed: a numbered log on disk. Live ones travel by gossip; what gossip loses, and what a node
//     missed while it was away, it fetches from the origin or any other follower.
//   - Profiles are pushed to the peers that are connected, and put into the directory for the others.
//
// docs/wire-format.md describes every byte, docs/scale.md what a mesh costs.
package kademlia

package transports

import (
	"context"
	"time"
)

// Pinger is a transport whose nodes are connected straight to each other: its [Report] has a [Mesh].
type Pinger interface {
	// Ping returns how long a peer takes to answer. The error says in plain words why it does not.
	Ping(ctx context.Context, peer string) (time.Duration, error)
}

// Mesh is what a node sees of a mesh.
type Mesh struct {
	ID        string   `json:"id"`
	Addresses []string `json:"addresses"` // where others reach this node as far as it knows, as they write it in their configuration
	Public    string   `json:"public"`    // whether strangers reach it: yes, no or unknown
	Peers     []Reach  `json:"peers"`     // the listed ones, by name
	Nodes     int      `json:"nodes"`     // that are connected, listed or not
}

// Reach is how a node reaches a peer.
type Reach struct {
	Peer     string        `json:"peer"`
	ID       string        `json:"id"`
	How      string        `json:"how"` // direct TCP, direct QUIC, relayed, or unreachable
	Since    time.Time     `json:"since"`
	Address  string        `json:"address,omitempty"`    // of the connection
	Latency  time.Duration `json:"latency_ns,omitempty"` // as measured lately; 0 while it is not known
	Trouble  string        `json:"trouble,omitempty"`    // why there is no connection, or why the peer takes nothing, in plain words
	Profile  uint64        `json:"profile,omitempty"`    // the version of its profile that is known; 0 while none is
	Feed     *FeedPlace    `json:"feed,omitempty"`       // where its broadcasts are followed
	InFlight int           `json:"in_flight"`            // frames that it has not confirmed
}

// FeedPlace is how far a node is with the broadcasts of another.
type FeedPlace struct {
	First  uint64 `json:"first"`  // number of the oldest frame that is kept here
	Next   uint64 `json:"next"`   // number after the newest one that is here
	Taken  uint64 `json:"taken"`  // number after the last one that was taken
	Missed uint64 `json:"missed"` // frames that were gone before they could be had
}

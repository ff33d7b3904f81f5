package pipeline

import (
	"crypto/ed25519"
	"slices"
	"time"

	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/profile"
)

// Config is what a node does, as plain values: every default set, everything validated, and no transport known by more than
// its name.
type Config struct {
	Node      string         // this relay's name, [a-z0-9_-]{1,32}
	DataDir   string         // identity key and lanes
	Subscribe []Subscription // what this site wants from its peers
	Peers     []Peer
	Routes    []Route
}

// CheckProfile says why no peer would take the profile in which the node announces its subscriptions.
func (c Config) CheckProfile() error { return profile.Check(c.Node, entries(c)) }

// Subscription is one thing that this site wants from its peers.
type Subscription struct {
	Filter    string   // MQTT topic filter, no shared subscription
	From      []string // names of the peers it is asked of; empty means all
	AddPrefix string   // put before the topic of what arrives
	MaxQoS    byte     // what arrives is published with at most this QoS
}

// asks reports whether it is asked of the peer.
func (s Subscription) asks(peer string) bool {
	return len(s.From) == 0 || slices.Contains(s.From, peer)
}

// Peer is a node that this node's owner listed.
type Peer struct {
	Name string
	Key  ed25519.PublicKey // nil where every transport it is reached over authenticates names itself
	At   map[string]string // its name on a transport, where that differs from Name
}

// On returns the peer's name on the transport.
func (p Peer) On(transport string) string {
	if name, ok := p.At[transport]; ok {
		return name
	}
	return p.Name
}

// ReachedOver reports whether the peer is there on the transport. A peer without a key is there only where the network
// authenticates names: on the transports that At has, or on all of these where it has none.
func (p Peer) ReachedOver(transport string, authenticates bool) bool {
	if len(p.Key) > 0 {
		return true
	}
	_, given := p.At[transport]
	return authenticates && (given || len(p.At) == 0)
}

// Mode says who gets a route's messages.
type Mode string

// Modes of a route.
const (
	Direct    Mode = "direct"    // each message to the peers whose filters match it, sealed for them alone
	Broadcast Mode = "broadcast" // each message once, signed, readable by every node that follows this one
)

// Route is an outgoing rule.
type Route struct {
	Name  string
	Match []string // topic filters
	To    string   // name of a transport
	Mode  Mode
	QoS   byte // messages travel with at most this QoS
	// Priority is given to the transport: where there is not room for all, the higher goes first.
	Priority int
	Batch    Batch
	Queue    lanes.Limits
}

// Batch says when a frame is full. Whichever comes first closes it.
type Batch struct {
	Count  int           // messages, at least 1
	Bytes  int           // encoded bytes before compression, a hard cap: a message larger than it travels alone
	Period time.Duration // counted from the frame's first message; 0 means that a frame waits for nothing but the one in flight
}

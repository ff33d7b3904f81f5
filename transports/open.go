package transports

import "context"

// This file is for networks like Twister, which authenticate names, show everybody what is wanted, and where each thing that is sent
// is scarce. Other transports need nothing of it.

// Keys of the metadata that a transport and the pipeline give each other beside a frame.
const (
	// MetaFrom is on what a transport delivers: the sender's name on the transport, which the network has authenticated. It is
	// absent where the network authenticates none, and heeded only of an [OpenDirectory].
	MetaFrom = "weft_from"
	// MetaPriority is on what a transport is to publish: the route's priority, in decimal. Where there is not room for all, the
	// higher goes first. Absent means 0.
	MetaPriority = "weft_priority"
)

// Wishes are the filters that a node shows in an [OpenDirectory].
type Wishes struct {
	Node string // its name on the transport, which the network has authenticated
	// Filters as they stand there: nothing of them is checked. Nil when the node shows none, which says nothing of what it wants;
	// empty, and not nil, when it shows that it wants nothing.
	Filters []string
}

// OpenDirectory is a transport whose network authenticates names, so that peers there need no key, and that shows everybody what
// a node wants, in clear. All that it delivers has [MetaFrom]. It takes the place of a [Directory].
type OpenDirectory interface {
	// ShowWishes stores the filters that this node wants from all of its peers there, replacing those shown before, and returns when
	// the directory has them. A transport whose directory has lost them puts them back by itself. What the directory has no room
	// for is a [Permanent] error, and those shown before stay.
	ShowWishes(ctx context.Context, filters []string) error
	// WatchWishes delivers what the peers show and then every change, until ctx ends, over any number of reconnects. It says nothing
	// of a node that it could not ask. The latest wishes of a node may be delivered more than once.
	WatchWishes(ctx context.Context) (<-chan Wishes, error)
}

// Bare is a transport that carries single messages instead of frames to some Publish topics: such a topic is given one Watermill
// message for each MQTT message, with [MetaTopic], [MetaQoS] and [MetaRetain], whose payload is that of MQTT, whatever
// MaxPayload says. In the same form it may deliver single messages of others, with [MetaFrom] as well: they are taken of peers
// that need no key alone, for nothing signs them. A single message has no number that would tell its repetition: its QoS is at most 1
// both ways.
type Bare interface {
	// Bare reports whether messages to the Publish topic go bare. It is the same for a topic while the transport lives.
	Bare(topic string) bool
}

// Measured is a transport that carries frames in units of a fixed size, each of which costs the same: a frame serves it best when
// its size is a multiple of the unit, or just below.
type Measured interface {
	// Unit returns how many bytes of a frame go into a unit, or 0 while that is not known.
	Unit() int
}

// Package transports is the contract between Weft and the networks that carry its frames.
//
// A transport is a [Transport] that is also a Watermill [message.Publisher] (it ends a lane), a [message.Subscriber]
// (it begins the in-router), or both. Its constructor has the form
//
//	New(Config, *slog.Logger) (*T, error)
//
// and does no I/O, so that `weft check` can build everything without connecting. What a transport can do beyond that it
// says by implementing one of the one-method interfaces of this package; callers find them by type assertion.
//
// # Frames
//
// The payload of a Watermill message is one sealed frame, opaque to the transport; [Bare] transports also carry single messages. Its
// UUID names the frame: the same frame sent again has the same UUID, so a network that suppresses duplicates may use it as its
// key. It arrives with that UUID, or, where a frame fills what a scarce network carries to the byte, with one of the transport's own.
//
// # Topics
//
// Publish takes [Direct] of a peer's name on this transport, or [Broadcast]. Subscribe takes [Inbox] (direct frames for
// this node) or [Feed] (broadcast frames of the nodes that this one follows).
//
// # Promises
//
// Publish returns nil only when the far side, or a store between, has taken every message over durably. It honours the
// message's context, retries nothing by itself beyond its own reconnect, and marks with [Permanent] what no retry can cure.
//
// Subscribe delivers the frames of one origin in the order they were published. Several may come before the first is
// acknowledged, so that the delay of a link does not bound what crosses it; a frame is given back to the network as taken only
// after its own Ack and those of all before it. After a Nack that frame comes again, and then all after it that were not
// acknowledged. A node subscribes to each topic once. The channel is closed when the context ends or the transport is closed.
//
// A transport reconnects for ever by itself, a failed first connect included. Start returns once the attempt has begun.
package transports

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Transport is what every transport and the broker side have in common. Whoever called Start calls Close, once;
// Close ends every goroutine the transport has started and closes the channels it handed out.
type Transport interface {
	// Start opens what the transport needs and begins connecting; it does not wait for a connection.
	// An error means that nothing was left running. The context bounds Start alone.
	Start(ctx context.Context) error
	Close() error
	// Report says how the transport fares. It may be called at any time, from any goroutine, and often.
	Report() Report
}

const (
	// Broadcast is the Publish topic of this node's own feed.
	Broadcast = "broadcast"
	// Inbox is the Subscribe topic of the direct frames for this node.
	Inbox = "inbox"
	// Feed is the Subscribe topic of the broadcast frames of the nodes that this one follows.
	Feed = "feed"

	directPrefix = "direct/"
)

// Direct returns the Publish topic of the inbox of the peer with that name on the transport.
func Direct(peer string) string { return directPrefix + peer }

// DirectPeer returns the peer that a topic made by [Direct] names, and whether it is such a topic.
func DirectPeer(topic string) (peer string, ok bool) { return strings.CutPrefix(topic, directPrefix) }

// Keys of the metadata that an MQTT message carries inside the process, on both the source and the sink.
const (
	// MetaTopic is the MQTT topic name. A publisher given an empty topic takes it from here.
	MetaTopic = "mqtt_topic"
	// MetaQoS is "0", "1" or "2".
	MetaQoS = "mqtt_qos"
	// MetaRetain is "1" when the retain flag is set, and absent otherwise.
	MetaRetain = "mqtt_retain"
	// MetaPacketID is the packet identifier of an incoming QoS 2 message, in decimal; absent otherwise. Whoever stores the
	// message durably stores this with it, in the same transaction, so that a redelivery after a crash is recognised.
	MetaPacketID = "mqtt_packet_id"
)

// Keys of the metadata that a transport and the pipeline give each other beside a frame.
const (
	// MetaFrom is on what a transport delivers: the sender's name on the transport, which the network has authenticated. It is
	// absent where the network authenticates none, and heeded only of an [OpenDirectory].
	MetaFrom = "weft_from"
	// MetaPriority is on what a transport is to publish: the route's priority, in decimal. Where there is not room for all, the
	// higher goes first. Absent means 0.
	MetaPriority = "weft_priority"
)

// MaxPayloader is a transport that bounds the size of a frame.
type MaxPayloader interface {
	// MaxPayload returns the largest payload in bytes that Publish takes now, or 0 while it is not known. The error of a larger
	// one is [Permanent], and says in plain words what raises the bound, if anything does.
	MaxPayload() int
}

// MaxProfile is the size of the largest profile in bytes, the same over every transport. It is what a NATS server takes of a
// message unless it is told otherwise (max_payload: 1 MiB), with room for headers.
const MaxProfile = 1000 << 10

// Announcement is a profile as it was found in a directory. Nothing in it is proven: the reader verifies Profile.
type Announcement struct {
	Node    string // the announcing node's name on this transport
	Profile []byte // the encoded, signed profile; empty when it was withdrawn
}

// Directory is a transport that keeps profiles.
type Directory interface {
	// Announce stores this node's profile, of at most [MaxProfile] bytes, replacing the last one, and returns when the directory has it. A transport whose
	// directory has lost it puts it back by itself.
	Announce(ctx context.Context, profile []byte) error
	// Watch delivers the profiles that the directory holds and then every change, until ctx ends, over any number of
	// reconnects. The latest profile of a node may be delivered more than once.
	Watch(ctx context.Context) (<-chan Announcement, error)
}

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
// that need no key alone, for nothing signs them. A single message has no number that would tell its repetition: its QoS is at most 1 both ways.
type Bare interface {
	// Bare reports whether messages to the Publish topic go bare. It is the same for a topic while the transport lives.
	Bare(topic string) bool
}

// Patient is a transport whose Publish may take minutes or hours, because only then the far side has confirmed the frame, and to give
// up an attempt and to make another frame of the same messages costs. Publish still returns soon when the message's context ends.
type Patient interface {
	// Patience is how long an attempt may take at most; 0 means without limit.
	Patience() time.Duration
}

// Measured is a transport that carries frames in units of a fixed size, each of which costs the same: a frame serves it best when
// its size is a multiple of the unit, or just below.
type Measured interface {
	// Unit returns how many bytes of a frame go into a unit, or 0 while that is not known.
	Unit() int
}

// Pipelined is a publisher that takes a frame while earlier ones to the same topic are not confirmed yet, so that the delay of a
// link does not bound what crosses it.
type Pipelined interface {
	// Stream returns what sends frames to a Publish topic, of which the far side takes none without those before it: when one
	// fails, all that were sent after it and are not confirmed fail as well, and so does what is sent from then on.
	//
	// Send queues a frame and returns at once or, where the transport's window is full, when there is room again or the message's
	// context ends, which bounds the frame until it is confirmed. The channel gives once what Publish would have returned; it is
	// buffered, so that nobody need read it. A stream is used by one goroutine at a time, and needs no end.
	Stream(topic string) (send func(frame *message.Message) <-chan error)
}

// State of a transport's or a broker's connection.
type State string

// States, from best to worst.
const (
	Up         State = "up"
	Connecting State = "connecting" // not connected, trying
	Stalled    State = "stalled"    // connected, but nothing moves
	Down       State = "down"       // not started, or closed
)

// Report is a transport's own account of itself.
type Report struct {
	State      State             `json:"state"`
	Since      time.Time         `json:"since"`             // when State was entered
	Detail     string            `json:"detail,omitempty"`  // the last error in plain words, with what would help; never a secret
	Reconnects uint64            `json:"reconnects"`        // connections made after the first
	BytesOut   uint64            `json:"bytes_out"`         // payload bytes handed to the network
	BytesIn    uint64            `json:"bytes_in"`          // payload bytes taken from it
	Dropped    map[string]uint64 `json:"dropped,omitempty"` // messages that it did not pass on, by reason
	Posts      *Posts            `json:"posts,omitempty"`   // where what it may send is counted
	Mesh       *Mesh             `json:"mesh,omitempty"`    // where nodes are connected straight to each other
	Metrics    []Metric          `json:"-"`                 // figures of its own
}

// Posts is what a transport may send, where its network counts that.
type Posts struct {
	Used   int           `json:"used"`      // so far
	Left   int           `json:"left"`      // now
	Exact  bool          `json:"exact"`     // else there may be more than Left
	Refill time.Duration `json:"refill_ns"` // how long another takes to come, on average; 0 while that is not known
}

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

// Metric is a figure of a transport, at this moment.
type Metric struct {
	Name    string // in snake case, after Prometheus's rules, without a prefix
	Help    string
	Counter bool // only grows, else it goes up and down
	Label   string
	Of      map[string]float64 // by the value of the label; by "" where there is no label
}

// permanent marks an error that no retry can cure.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks err as one that no retry can cure (a frame too large for the network, a destination that cannot exist):
// the lane moves the frame to the dead letters and goes on. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent reports whether err, or an error it wraps, was marked by [Permanent].
func IsPermanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}

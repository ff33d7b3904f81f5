// Package transports is the contract between Weft and the networks that carry its frames.
//
// A transport is a [Transport] that is also a Watermill [message.Publisher] (it ends a lane), a [message.Subscriber]
// (it begins the in-router), or both. Its constructor has the form
//
//	New(Config, *slog.Logger) (*T, error)
//
// and does no I/O, so that `weft check` can build everything without connecting. What a transport can do beyond that it
// says by implementing one of the small interfaces of this package; callers find them by type assertion.
//
// What every author reads is in transports.go and report.go. The file mesh.go is for networks whose nodes are connected straight to
// each other, open.go for such as Twister, and message.go for what carries MQTT messages one by one.
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
	// Announce stores this node's profile, of at most [MaxProfile] bytes, replacing the last one, and returns when the directory has
	// it. A transport whose directory has lost it puts it back by itself.
	Announce(ctx context.Context, profile []byte) error
	// Watch delivers the profiles that the directory holds and then every change, until ctx ends, over any number of
	// reconnects. The latest profile of a node may be delivered more than once.
	Watch(ctx context.Context) (<-chan Announcement, error)
}

// Patient is a transport whose Publish may take minutes or hours, because only then the far side has confirmed the frame, and to give
// up an attempt and to make another frame of the same messages costs. Publish still returns soon when the message's context ends.
type Patient interface {
	// Patience is how long an attempt may take at most; 0 means without limit.
	Patience() time.Duration
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

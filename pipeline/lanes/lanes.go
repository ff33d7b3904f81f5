// Package lanes is the durable store of a node: a journal that every lane shares, and the lanes that read it.
//
// A lane is the first-in-first-out queue of one destination. A message due in many lanes is written once; one write and one
// fdatasync serve every message of a batch and every batch that waits at that moment. QoS 0 messages never touch the disk. What
// an MQTT client must remember of its session (see [Store.PutPacket]) lives in the same journal, so that "this message was
// taken" and "this packet is in flight" are one transaction.
//
// docs/lanes.md describes every byte of the journal and compares it with the stores that it was chosen over.
package lanes

import (
	"errors"
	"time"

	"github.com/weft-relay/weft/pipeline/frame"
)

// WhenFull says what a full lane does with the next message.
type WhenFull string

// The policies of a full lane.
const (
	Block      WhenFull = "block"       // Append waits, so that the broker keeps the message
	DropOldest WhenFull = "drop_oldest" // the oldest messages that are not in flight make room
	DropNew    WhenFull = "drop_new"    // the new message is refused
)

// Limits bound a lane.
type Limits struct {
	Bytes    int64         // of the QoS 1 and 2 messages queued or in flight, each counted as its Size; 0 means no limit
	Age      time.Duration // of a message that is not in flight, since Message.Time; 0 means no limit
	WhenFull WhenFull      // the empty value is Block
}

// Reasons of the messages that the store drops by itself.
const (
	ReasonFull     = "full"          // the lane was full
	ReasonTooLarge = "too_large"     // larger than the lane's whole limit
	ReasonAge      = "age"           // older than the lane's limit
	ReasonQoS0     = "qos0_overflow" // QoS 0, and the memory for those was full
	ReasonRestart  = "qos0_restart"  // QoS 0, and still queued when the store was closed
	ReasonRemoved  = "removed"       // the lane was removed
	ReasonDamaged  = "damaged"       // its bytes on the disk could not be read back
)

// Overhead is what a message counts in bytes beyond its topic and payload, in limits and in batches.
const Overhead = 24

// Size returns what a message counts in limits and in batches: its topic, its payload and [Overhead].
func Size(m *frame.Message) int { return len(m.Topic) + len(m.Payload) + Overhead }

// Entry is one message to store.
type Entry struct {
	// Message is stored as it is, apart from Seq, which Append sets. The store keeps its payload: it must not change any more.
	Message frame.Message
	// Lanes that the message is due in; none is allowed. They must be lanes of this store.
	Lanes []*Lane
	// PacketID is the packet identifier under which an incoming QoS 2 message came, or 0. It counts as received
	// (see [Store.Received]) in the same transaction.
	PacketID uint16
	// Source is the lane that the message stems from, or nil: what Next has returned there under the number Spent leaves it in the same
	// transaction. Of several entries that stem from one message, the last one says so.
	Source *Lane
	Spent  uint64
	// Done is the identity that the message had in another node's lane, if it came from one: everything there up to it counts as
	// done (see [Store.SetDone]) in the same transaction.
	Done ID
}

// Stats is a lane's account of itself since the store was made. In = Delivered + Depth + the sum of Dropped, always.
type Stats struct {
	Depth     int               `json:"depth"`           // messages queued or in flight
	InFlight  int               `json:"in_flight"`       // of them, returned by Next and not yet acknowledged
	Bytes     int64             `json:"bytes"`           // the Size of the queued and in-flight messages, QoS 0 included
	Oldest    time.Time         `json:"oldest,omitzero"` // Time of the oldest message queued or in flight; zero if there is none
	In        uint64            `json:"in"`              // messages that came to the lane
	Delivered uint64            `json:"delivered"`       // messages acknowledged
	Dropped   map[string]uint64 `json:"dropped,omitempty"`
}

// ErrClosed is returned by what waits for a store that is closed, or for a lane that is removed.
var ErrClosed = errors.New("store is closed")

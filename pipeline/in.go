package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// Reasons of the frames and messages that are refused on arrival.
const (
	refusedMalformed = "malformed"      // frame: not one, or damaged
	refusedVersion   = "newer_version"  // frame: kept until this relay is updated
	refusedStranger  = "not_a_peer"     // frame: its origin is not listed
	refusedSignature = "bad_signature"  // frame: not signed by its origin
	refusedRecipient = "not_for_us"     // frame: sealed for somebody else
	refusedLoop      = "own_frame"      // frame: made by this node
	refusedReplayed  = "duplicate"      // message: it was handed to the broker before
	refusedUnwanted  = "not_subscribed" // message: no filter of ours asks it of that peer
	refusedTopic     = "bad_topic"      // message: no topic name after [MQTT-4.7.3-1]
	refusedByBroker  = "broker"         // message: the broker hangs up on it; moved to the dead letters
)

// in is the handler of what transports bring: it opens frames, accepts messages and hands them to the broker.
type in struct {
	node  string
	peers map[string]*peer
	subs  []Subscription
	wants *matching.Set[int] // filters to indexes of subs
	store *lanes.Store
	sink  message.Publisher
	dead  *deadLetters
	kept  *keptFrames
	log   *slog.Logger

	delivered atomic.Uint64 // messages that the broker has taken
	bytes     atomic.Uint64 // of frames opened
	refused   counters
}

func newIn(cfg Config, peers []*peer, store *lanes.Store, sink message.Publisher, dead *deadLetters, kept *keptFrames, log *slog.Logger) (*in, error) {
	wants, err := matching.NewSet(func(yield func(string, int) bool) {
		for i, s := range cfg.Subscribe {
			if !yield(s.Filter, i) {
				return
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return &in{node: cfg.Node, peers: byName(peers), subs: cfg.Subscribe, wants: wants, store: store, sink: sink, dead: dead, kept: kept, log: log}, nil
}

// maxBatchBytes bounds what opened frames hold in memory beside the one that is being opened.
const maxBatchBytes = 4 << 20

// handle is the in-router's handler. It takes a run of frames: what they bring goes to the broker together, so that many small
// frames cost one exchange with it. An error means that the run must come again.
func (n *in) handle(run *message.Message) error {
	b := batch{marks: make(map[foreignLane]uint64)}
	ctx := context.WithoutCancel(run.Context()) // what was begun may finish while the router closes
	for _, msg := range runOf(run) {
		f, origin, err := n.open(msg.Payload)
		if err != nil {
			if err := n.refuse(msg, err); err != nil {
				return err
			}
			continue
		}
		n.bytes.Add(uint64(len(msg.Payload)))
		if err := n.accept(ctx, &b, origin, f); err != nil {
			return err
		}
	}
	return n.handOver(ctx, &b)
}

// batch is what some frames bring.
type batch struct {
	messages []*message.Message
	bytes    int
	marks    map[foreignLane]uint64 // how far it takes each lane
}

// foreignLane is a lane of another node.
type foreignLane struct {
	origin      string
	lane, epoch uint64
}

// handOver hands a batch to the broker, remembers that, and empties it.
func (n *in) handOver(ctx context.Context, b *batch) error {
	if len(b.messages) > 0 {
		if err := n.publish(ctx, b.messages); err != nil {
			return err
		}
	}
	for from, seq := range b.marks {
		n.store.SetDone(from.origin, from.lane, from.epoch, seq)
	}
	clear(b.marks)
	b.messages, b.bytes = nil, 0
	return nil
}

// publish hands messages to the broker, and those that it will never take to the dead letters.
func (n *in) publish(ctx context.Context, batch []*message.Message) error {
	err := n.sink.Publish("", batch...)
	var refused *transports.Refused
	if !errors.As(err, &refused) {
		if err == nil {
			n.delivered.Add(uint64(len(batch)))
		}
		return err
	}
	for _, m := range batch {
		if !slices.Contains(refused.UUIDs, m.UUID) {
			continue
		}
		id, _ := lanes.ParseID(m.UUID) // it was made by accept
		letter := deadLetter{
			Reason: refused.Reason, Lane: "from " + id.Origin, Topic: m.Metadata[transports.MetaTopic], QoS: qosOf(m),
			Retain: m.Metadata[transports.MetaRetain] == "1", Time: time.Now(), Payload: m.Payload,
		}
		if err := n.dead.publish(ctx, letter); err != nil {
			return err
		}
		n.refused.add(refusedByBroker, 1)
	}
	n.delivered.Add(uint64(len(batch) - len(refused.UUIDs)))
	return nil
}

func (n *in) open(data []byte) (*frame.Frame, string, error) {
	e, err := frame.Parse(data)
	if err != nil {
		return nil, "", err
	}
	if e.Origin == n.node {
		return nil, "", errOwnFrame
	}
	p := n.peers[e.Origin]
	if p == nil {
		return nil, "", fmt.Errorf("%w: it says it is from %q", frame.ErrStranger, e.Origin)
	}
	f, err := e.Open(n.node, p.Key, p.opener)
	return f, e.Origin, err
}

var errOwnFrame = errors.New("frame of this node came back")

// refuse counts a frame that is not taken. It is acknowledged, for it would be no better the next time; a frame of a newer
// version is kept first.
func (n *in) refuse(msg *message.Message, err error) error {
	reason := refusedMalformed
	switch {
	case errors.Is(err, frame.ErrVersion):
		reason = refusedVersion
		if keepErr := n.kept.keep(msg.Payload); keepErr != nil {
			return keepErr
		}
	case errors.Is(err, frame.ErrStranger):
		reason = refusedStranger
	case errors.Is(err, frame.ErrSignature):
		reason = refusedSignature
	case errors.Is(err, frame.ErrRecipient):
		reason = refusedRecipient
	case errors.Is(err, errOwnFrame):
		reason = refusedLoop
	}
	if first := n.refused.add(reason, 1); first {
		n.log.Warn("frame refused, further ones are only counted", "reason", reason, "error", err)
	}
	return nil
}

// accept adds to the batch what of a frame is for the broker: not handed over before, and asked for; it hands the batch over
// whenever that is large. Handed over means that the
// broker has answered (everything up to the lane's mark), or, for QoS 2, that the packet is in flight and its session kept on disk.
func (n *in) accept(ctx context.Context, b *batch, origin string, f *frame.Frame) error {
	from := foreignLane{origin, f.Lane, f.Epoch}
	done, _ := n.store.Done(origin, f.Lane, f.Epoch)
	done = max(done, b.marks[from])
	for i := range f.Messages {
		m := &f.Messages[i]
		if m.Seq <= done {
			n.refused.add(refusedReplayed, 1)
			continue
		}
		b.marks[from] = m.Seq
		if msg := n.admit(ctx, from, m); msg != nil {
			b.messages = append(b.messages, msg)
			b.bytes += lanes.Size(m) // a prefix makes each topic a copy, though in the frame it stands once
		}
		if b.bytes >= maxBatchBytes {
			if err := n.handOver(ctx, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// admit returns the message as it is published here, or nil if it is not.
func (n *in) admit(ctx context.Context, from foreignLane, m *frame.Message) *message.Message {
	sub := n.subscription(from.origin, m.Topic)
	if sub == nil {
		n.refused.add(refusedUnwanted, 1)
		return nil
	}
	topic := sub.AddPrefix + m.Topic
	if matching.ValidateTopic(topic) != nil {
		n.refused.add(refusedTopic, 1)
		return nil
	}
	uuid := lanes.ID{Origin: from.origin, Lane: from.lane, Epoch: from.epoch, Seq: m.Seq}.String()
	qos := min(m.QoS, sub.MaxQoS)
	if qos == 2 && n.store.Handed(uuid) {
		n.refused.add(refusedReplayed, 1)
		return nil
	}
	return published(ctx, uuid, topic, qos, m)
}

// subscription returns the first of this node's subscriptions that asks for the topic of that peer.
func (n *in) subscription(origin, topic string) *Subscription {
	var few [8]int
	found := n.wants.AppendMatch(few[:0], topic)
	slices.Sort(found)
	for _, i := range found {
		if s := &n.subs[i]; len(s.From) == 0 || slices.Contains(s.From, origin) {
			return s
		}
	}
	return nil
}

var qosText = [...]string{"0", "1", "2"}

func published(ctx context.Context, uuid, topic string, qos byte, m *frame.Message) *message.Message {
	msg := message.NewMessage(uuid, m.Payload)
	msg.Metadata[transports.MetaTopic] = topic
	msg.Metadata[transports.MetaQoS] = qosText[qos]
	if m.Retain {
		msg.Metadata[transports.MetaRetain] = "1"
	}
	msg.SetContext(ctx)
	return msg
}

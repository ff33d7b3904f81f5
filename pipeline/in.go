package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// Reasons of the frames and messages that are refused on arrival.
const (
	refusedMalformed = "malformed"      // frame: not one, or damaged; moved to the dead letters if a peer has signed it
	refusedVersion   = "newer_version"  // frame: kept until this relay is updated
	refusedEvicted   = "evicted"        // frame: kept as well, and given up for want of room
	refusedStranger  = "not_a_peer"     // frame or message: its origin is not listed
	refusedSignature = "bad_signature"  // frame or message: not signed by its origin, which has a key; or not sent by it, which has none
	refusedRecipient = "not_for_us"     // frame: sealed for somebody else; moved to the dead letters if a peer has addressed it to this node
	refusedLoop      = "own_frame"      // frame: made by this node
	refusedReplayed  = "duplicate"      // message: it was handed to the broker before
	refusedUnwanted  = "not_subscribed" // message: no filter of ours asks it of that peer
	refusedTopic     = "bad_topic"      // message: no topic name after [MQTT-4.7.3-1]; moved to the dead letters
	refusedByBroker  = "broker"         // message: the broker hangs up on it; moved to the dead letters
	refusedLetter    = "no_dead_letter" // frame or message: its peer has caused too many dead letters already
)

// in is the handler of what transports bring: it opens frames, accepts messages and hands them to the broker.
type in struct {
	node  string
	peers map[string]*peer
	subs  []Subscription
	wants *matching.Set[int] // filters to indexes of subs
	// waiting are the lanes in which what a subscription with stages asks for waits for them, by peer.
	waiting map[*Subscription]map[string]*lanes.Lane
	store   *lanes.Store
	sink    message.Publisher
	dead    *deadLetters
	kept    *keptFrames
	log     *slog.Logger

	delivered atomic.Uint64 // messages that the broker has taken
	bytes     atomic.Uint64 // of frames opened
	refused   counters
	letters   quota
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
	return &in{
		node: cfg.Node, peers: byName(peers), subs: cfg.Subscribe, wants: wants, waiting: make(map[*Subscription]map[string]*lanes.Lane),
		store: store, sink: sink, dead: dead, kept: kept, log: log,
	}, nil
}

// maxBatchBytes bounds what opened frames hold in memory beside the one that is being opened.
const maxBatchBytes = 4 << 20

// from returns the in-router's handler of a transport. The users are the peers that its network authenticates.
func (n *in) from(who users) message.NoPublishHandlerFunc {
	return func(run *message.Message) error { return n.take(who, run) }
}

// take takes a run of frames: what they bring goes to the broker together, so that many small frames cost one exchange with it. An
// error means that the run must come again.
func (n *in) take(who users, run *message.Message) error {
	b := batch{marks: make(map[foreignLane]uint64)}
	ctx := context.WithoutCancel(run.Context()) // what was begun may finish while the router closes
	for _, msg := range runOf(run) {
		if err := n.takeOne(ctx, &b, who, msg); err != nil {
			return err
		}
	}
	return n.handOver(ctx, &b)
}

// takeOne adds to the batch what a frame, or a single message where the network authenticates names, is for the broker.
func (n *in) takeOne(ctx context.Context, b *batch, who users, msg *message.Message) error {
	if _, bare := msg.Metadata[transports.MetaTopic]; bare && who != nil {
		return n.takeBare(ctx, b, who, msg)
	}
	f, origin, err := n.open(who, msg)
	if err != nil {
		return n.refuse(ctx, msg, origin, err)
	}
	n.bytes.Add(uint64(len(msg.Payload)))
	return n.accept(ctx, b, origin, f)
}

// batch is what some frames bring.
type batch struct {
	messages []*message.Message
	staged   []lanes.Entry // for subscriptions with stages
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
	if err := n.store.Append(ctx, b.staged); err != nil {
		return err
	}
	for from, seq := range b.marks {
		n.store.SetDone(from.origin, from.lane, from.epoch, seq)
	}
	clear(b.marks)
	b.messages, b.staged, b.bytes = nil, nil, 0
	return nil
}

// publish hands messages to the broker, and those that it will never take to the dead letters.
func (n *in) publish(ctx context.Context, batch []*message.Message) error {
	err := n.sink.Publish("", batch...)
	refusal, ok := errors.AsType[Refusal](err)
	if !ok {
		if err == nil {
			n.delivered.Add(uint64(len(batch)))
		}
		return err
	}
	refused, reason := refusal.Refused()
	for _, m := range batch {
		if !slices.Contains(refused, m.UUID) {
			continue
		}
		origin, _, _ := strings.Cut(m.UUID, "/") // it was made by admit
		letter := deadLetter{
			Reason: reason, Lane: "from " + origin, Topic: m.Metadata[transports.MetaTopic], QoS: qosOf(m),
			Retain: m.Metadata[transports.MetaRetain] == "1", Time: time.Now(), Payload: m.Payload,
		}
		if err := n.bury(ctx, origin, letter); err != nil {
			return err
		}
		n.refused.add(refusedByBroker, 1)
	}
	n.delivered.Add(uint64(len(batch) - len(refused)))
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
		sub, topic, err := n.admit(ctx, origin, m)
		if err != nil {
			return err
		}
		if sub == nil {
			continue
		}
		id, qos := lanes.ID{Origin: origin, Lane: f.Lane, Epoch: f.Epoch, Seq: m.Seq}, min(m.QoS, sub.MaxQoS)
		uuid := id.String()
		switch stages := n.waiting[sub][origin]; {
		case stages != nil:
			err = n.stage(ctx, b, stages, topic, qos, m, id)
		case qos == 2 && n.store.Handed(uuid):
			n.refused.add(refusedReplayed, 1)
		default:
			err = n.add(ctx, b, m, published(ctx, uuid, topic, qos, m))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeBare adds a single message of a peer to the batch, if it is asked for. It has no number by which its repetition would be
// known, and so no QoS 2.
func (n *in) takeBare(ctx context.Context, b *batch, who users, msg *message.Message) error {
	p := who.sender(msg)
	m := frame.Message{
		Time:  time.Now(), // nothing says when it was made
		Topic: msg.Metadata[transports.MetaTopic], Payload: msg.Payload, QoS: min(qosOf(msg), 1), Retain: msg.Metadata[transports.MetaRetain] == "1",
	}
	switch {
	case p == nil:
		return n.refuse(ctx, msg, "", fmt.Errorf("%w: a single message from %.64q", frame.ErrStranger, msg.Metadata[transports.MetaFrom]))
	case len(p.Key) > 0:
		err := fmt.Errorf("%w: a single message of %s, which is listed with a key and must send signed frames", frame.ErrSignature, p.Name)
		if n.refused.add(refusedSignature, 1) {
			n.log.Warn("message moved to the dead letters, further ones are only counted", "peer", p.Name, "error", err)
		}
		return n.bury(ctx, p.Name, letterAbout(p.Name, &m, err))
	}
	n.bytes.Add(uint64(len(msg.Payload)))
	sub, topic, err := n.admit(ctx, p.Name, &m)
	if sub == nil || err != nil {
		return err
	}
	qos := min(m.QoS, sub.MaxQoS)
	if stages := n.waiting[sub][p.Name]; stages != nil {
		return n.stage(ctx, b, stages, topic, qos, &m, lanes.ID{})
	}
	return n.add(ctx, b, &m, published(ctx, p.Name+"/"+watermill.NewUUID(), topic, qos, &m))
}

// add adds a message, as it is published here, to the batch.
func (n *in) add(ctx context.Context, b *batch, m *frame.Message, msg *message.Message) error {
	b.messages = append(b.messages, msg)
	return n.grow(ctx, b, m)
}

// stage adds a message that waits for the stages of its subscription to the batch. The identity is that of its origin, if it has one.
func (n *in) stage(ctx context.Context, b *batch, stages *lanes.Lane, topic string, qos byte, m *frame.Message, id lanes.ID) error {
	e := lanes.Entry{
		Message: frame.Message{Time: m.Time, Topic: topic, Payload: m.Payload, QoS: qos, Retain: m.Retain},
		Lanes:   []*lanes.Lane{stages},
	}
	if qos > 0 {
		e.Done = id
	}
	b.staged = append(b.staged, e)
	return n.grow(ctx, b, m)
}

// grow notes that a message was added to the batch, and hands that over when it is large.
func (n *in) grow(ctx context.Context, b *batch, m *frame.Message) error {
	if b.bytes += lanes.Size(m); b.bytes < maxBatchBytes { // a prefix makes each topic a copy, though in the frame it stands once
		return nil
	}
	return n.handOver(ctx, b)
}

// admit returns the subscription that asks for a peer's message and the topic that it has here, or nil if it is not published here.
func (n *in) admit(ctx context.Context, origin string, m *frame.Message) (*Subscription, string, error) {
	sub := n.subscription(origin, m.Topic)
	if sub == nil {
		n.refused.add(refusedUnwanted, 1)
		return nil, "", nil
	}
	topic := sub.AddPrefix + m.Topic
	if err := matching.ValidateTopic(topic); err != nil {
		if err := n.bury(ctx, origin, letterAbout(origin, m, err)); err != nil {
			return nil, "", err
		}
		if n.refused.add(refusedTopic, 1) {
			n.log.Warn("message moved to the dead letters, further ones are only counted", "peer", origin, "error", err)
		}
		return nil, "", nil
	}
	return sub, topic, nil
}

// subscription returns the first of this node's subscriptions that asks for the topic of that peer.
func (n *in) subscription(origin, topic string) *Subscription {
	var few [8]int
	found := n.wants.AppendMatch(few[:0], topic)
	slices.Sort(found)
	for _, i := range found {
		if s := &n.subs[i]; s.asks(origin) {
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

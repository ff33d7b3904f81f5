package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/identity"
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
)

// in is the handler of what transports bring: it opens frames, accepts messages and hands them to the broker.
type in struct {
	node  string
	id    *identity.Identity
	peers map[string]*peer
	subs  []Subscription
	wants *matching.Set[int] // filters to indexes of subs
	store *lanes.Store
	sink  message.Publisher
	kept  *keptFrames
	log   *slog.Logger

	delivered atomic.Uint64 // messages that the broker has taken
	bytes     atomic.Uint64 // of frames opened
	refused   counters
}

func newIn(cfg Config, id *identity.Identity, peers []*peer, store *lanes.Store, sink message.Publisher, kept *keptFrames, log *slog.Logger) (*in, error) {
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
	return &in{node: cfg.Node, id: id, peers: byName(peers), subs: cfg.Subscribe, wants: wants, store: store, sink: sink, kept: kept, log: log}, nil
}

// handle is the in-router's handler. An error means that the frame must come again.
func (n *in) handle(msg *message.Message) error {
	f, origin, err := n.open(msg.Payload)
	if err != nil {
		return n.refuse(msg, err)
	}
	n.bytes.Add(uint64(len(msg.Payload)))
	batch := n.accept(context.WithoutCancel(msg.Context()), origin, f)
	if len(batch) > 0 {
		if err := n.sink.Publish("", batch...); err != nil {
			return err
		}
		n.delivered.Add(uint64(len(batch)))
	}
	if last := len(f.Messages) - 1; last >= 0 {
		n.store.SetDone(origin, f.Lane, f.Epoch, f.Messages[last].Seq)
	}
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
		return nil, "", frame.ErrStranger
	}
	f, err := e.Open(n.id, n.node, p.Key)
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

// accept returns what of a frame is for the broker: not handed over before, and asked for. Handed over means that the broker has
// answered (everything up to the lane's mark), or, for QoS 2, that the packet is in flight and its session kept on disk.
func (n *in) accept(ctx context.Context, origin string, f *frame.Frame) []*message.Message {
	batch := make([]*message.Message, 0, len(f.Messages))
	done, known := n.store.Done(origin, f.Lane, f.Epoch)
	for i := range f.Messages {
		m := &f.Messages[i]
		if known && m.Seq <= done {
			n.refused.add(refusedReplayed, 1)
			continue
		}
		sub := n.subscription(origin, m.Topic)
		if sub == nil {
			n.refused.add(refusedUnwanted, 1)
			continue
		}
		topic := sub.AddPrefix + m.Topic
		if matching.ValidateTopic(topic) != nil {
			n.refused.add(refusedTopic, 1)
			continue
		}
		uuid := lanes.ID{Origin: origin, Lane: f.Lane, Epoch: f.Epoch, Seq: m.Seq}.String()
		qos := min(m.QoS, sub.MaxQoS)
		if qos == 2 && n.store.Handed(uuid) {
			n.refused.add(refusedReplayed, 1)
			continue
		}
		batch = append(batch, published(ctx, uuid, topic, qos, m))
	}
	return batch
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

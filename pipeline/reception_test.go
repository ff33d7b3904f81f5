package pipeline

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/transports"
)

// receiver starts a node with bob, who has no key, for its peer.
func receiver(t *testing.T, store *lanes.Store, broker *endingBroker, sub Subscription, steps ...stage.Step) *Node {
	t.Helper()
	cfg := Config{Node: "alice", DataDir: t.TempDir(), Peers: []Peer{{Name: "bob", Key: testIdentity(t, 2).Public()}}, Subscribe: []Subscription{sub}}
	n, err := New(cfg, testIdentity(t, 1), store, broker, Transports{"hub": &endingNetwork{}}, stage.Steps{Subscribe: [][]stage.Step{steps}},
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context(), func(error) {}); err != nil {
		t.Fatal(err)
	}
	return n
}

// takeBare has the node take a single message of bob's.
func takeBare(t *testing.T, n *Node, topic, qos string) {
	t.Helper()
	msg := message.NewMessage("1", []byte("x"))
	msg.Metadata[transports.MetaTopic], msg.Metadata[transports.MetaQoS], msg.Metadata[transports.MetaFrom] = topic, qos, "bob"
	b := batch{marks: make(map[foreignLane]uint64)}
	if err := n.in.takeBare(t.Context(), &b, users{"bob": {Peer: Peer{Name: "bob"}}}, msg); err != nil {
		t.Fatal(err)
	}
	if err := n.in.handOver(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
}

func (b *endingBroker) taken() []*message.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.got
}

// A single message has no time of its own, and the stages of its subscription raise its QoS. Does it come to the broker, within max_qos?
func TestStagesOfASubscriptionGetSingleMessagesAndKeepToItsQoS(t *testing.T) {
	broker := &endingBroker{source: make(chan *message.Message)}
	n := receiver(t, testStore(t), broker, Subscription{Filter: "#", MaxQoS: 1}, stepOf("raise", func(_ time.Time, in []stage.Message) (stage.Output, error) {
		for i := range in {
			in[i].QoS = 2
		}
		return stage.Output{Messages: in}, nil
	}))
	defer func() { _ = n.Stop(context.WithoutCancel(t.Context())) }()
	takeBare(t, n, "a", "0")
	takeBare(t, n, "b", "1")
	await(t, func() bool { return len(broker.taken()) == 2 })
	for _, m := range broker.taken() {
		if qos := m.Metadata[transports.MetaQoS]; qos != "1" {
			t.Errorf("%s came at QoS %s", m.Metadata[transports.MetaTopic], qos)
		}
	}
}

package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
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

// reopen opens a store that is closed with the test.
func reopen(t *testing.T, dir string) *lanes.Store {
	t.Helper()
	store, err := lanes.Open(dir, lanes.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// storeIn leaves messages on those topics in a lane of a store that is closed.
func storeIn(t *testing.T, dir, lane string, topics ...string) {
	t.Helper()
	store := reopen(t, dir)
	var entries []lanes.Entry
	for _, topic := range topics {
		entries = append(entries, lanes.Entry{
			Message: frame.Message{Time: time.Now(), Topic: topic, QoS: 1}, Lanes: []*lanes.Lane{store.Lane(lane, lanes.Limits{})},
		})
	}
	if err := store.Append(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// The stages of a subscription were taken out of the file while messages waited for them and behind them. Do those come to the broker,
// and before what comes now?
func TestWhatWaitsForStagesOfASubscriptionThatAreNoMoreComesToTheBroker(t *testing.T) {
	dir := t.TempDir()
	storeIn(t, dir, "in/bob/#", "2", "3")
	storeIn(t, dir, "ready/bob/#", "1")
	broker := &endingBroker{source: make(chan *message.Message)}
	n := receiver(t, reopen(t, dir), broker, Subscription{Filter: "#", MaxQoS: 1})
	defer func() { _ = n.Stop(context.WithoutCancel(t.Context())) }()
	takeBare(t, n, "4", "1")
	await(t, func() bool { return len(broker.taken()) == 4 })
	for i, m := range broker.taken() {
		if topic := m.Metadata[transports.MetaTopic]; topic != fmt.Sprint(i+1) {
			t.Errorf("message %d is %s", i+1, topic)
		}
	}
}

// The stages of a route were taken out of the file while messages waited for them. Do those go to the route's lane, full though it is, and
// are they before what comes now?
func TestWhatWaitsForStagesOfARouteThatAreNoMoreGoesToItsLanes(t *testing.T) {
	dir := t.TempDir()
	storeIn(t, dir, "all/+stages", "2", "3")
	storeIn(t, dir, "all/*", "1")
	all := Route{Name: "all", Match: []string{"a/#"}, To: "hub", Mode: Broadcast, QoS: 1, Queue: lanes.Limits{Bytes: 1, WhenFull: lanes.Block}}
	store := reopen(t, dir)
	n, err := New(Config{Node: "alice", DataDir: t.TempDir(), Routes: []Route{all}}, testIdentity(t, 1), store, &endingBroker{},
		Transports{"hub": &endingNetwork{}}, stage.Steps{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got := readTopics(t, n.deliveries[0].lane, 3); !slices.Equal(got, []string{"1", "2", "3"}) || len(store.Orphans()) != 0 || len(n.orphans) != 0 {
		t.Errorf("the lane has %q; orphans %q, %d", got, store.Orphans(), len(n.orphans))
	}
}

// Of two subscriptions to one filter the first one takes what bob sends, and the stages of the other one have nothing to do for him.
func TestPeerPassesTheStagesOfTheFirstSubscriptionToAFilter(t *testing.T) {
	broker := &endingBroker{source: make(chan *message.Message)}
	cfg := Config{Node: "alice", DataDir: t.TempDir(), Peers: []Peer{{Name: "bob", Key: testIdentity(t, 2).Public()}, {Name: "carol", Key: testIdentity(t, 3).Public()}}}
	cfg.Subscribe = []Subscription{{Filter: "#", From: []string{"bob"}, MaxQoS: 2}, {Filter: "#", MaxQoS: 2}}
	step := stepOf("pass", func(_ time.Time, in []stage.Message) (stage.Output, error) { return stage.Output{Messages: in}, nil })
	n, err := New(cfg, testIdentity(t, 1), testStore(t), broker, Transports{"hub": &endingNetwork{}},
		stage.Steps{Subscribe: [][]stage.Step{{step}, {step}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first, second := n.in.waiting[&n.cfg.Subscribe[0]], n.in.waiting[&n.cfg.Subscribe[1]]
	if len(first) != 1 || first["bob"] == nil || len(second) != 1 || second["carol"] == nil {
		t.Errorf("the first one has stages for %v, the second one for %v", first, second)
	}
}

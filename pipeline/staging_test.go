package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/stage"
)

// Is a message that a route with stages matches due in that alone, for every peer that it reaches, whatever comes before it in the list?
func TestRouteWithStagesTakesWhatItMatchesBeforeOthers(t *testing.T) {
	store, peers := testStore(t), testPeers(t)
	in := testInterests(t, t.TempDir())
	for seed, node := range map[byte]string{2: "bob", 3: "carol"} {
		if _, err := announce(t, in, seed, node, 1, "#"); err != nil {
			t.Fatal(err)
		}
	}
	all := newRoute(Route{Name: "all", Match: []string{"#"}, To: "bird", Mode: Direct, QoS: 1}, store, peers, in)
	doors := newRoute(Route{Name: "doors", To: "bird", Mode: Direct, QoS: 2}, store, peers, in).
		gate(Route{Name: "doors", Match: []string{"doors/#"}, To: "bird", Mode: Direct, QoS: 2}, store)
	doors.lanes[1] = nil // carol is not reached over it
	news := newRoute(Route{Name: "news", Match: []string{"#"}, To: "bird", Mode: Broadcast}, store, peers, in)
	alarms := newRoute(Route{Name: "alarms", To: "bird", Mode: Broadcast}, store, peers, in).
		gate(Route{Name: "alarms", Match: []string{"alarms/#"}, To: "bird", Mode: Broadcast}, store)
	a, err := newAddressing([]*route{all, news, doors, alarms}, peers)
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string][]string{
		"doors/1":  {"all/carol", "doors/+stages", "news/*"},
		"alarms/1": {"alarms/+stages", "all/bob", "all/carol", "all/dave"},
		"x":        {"all/bob", "all/carol", "all/dave", "news/*"},
	} {
		a.look()
		due, qos := a.due(nil, topic)
		var names []string
		for _, l := range due {
			names = append(names, l.Name())
		}
		slices.Sort(names)
		if !slices.Equal(names, want) {
			t.Errorf("%s is due in %v, want %v", topic, names, want)
		}
		if topic == "doors/1" && qos != 2 {
			t.Errorf("%s at QoS %d", topic, qos)
		}
	}
}

// testStaging is a lane whose stages' messages go to the lane "behind", but for those on the topic "nobody".
func testStaging(t *testing.T, store *lanes.Store, sink message.Publisher, steps ...stage.Step) (s *staging, behind *lanes.Lane) {
	t.Helper()
	behind = store.Lane("behind", lanes.Limits{})
	return &staging{
		lane: store.Lane("before", lanes.Limits{}), store: store, chain: newChain(steps), origin: "alice", look: func() {},
		due: func(dst []*lanes.Lane, topic string) ([]*lanes.Lane, byte) {
			if topic == "nobody" {
				return dst, 0
			}
			return append(dst, behind), 1
		},
		dead: &deadLetters{sink: sink, log: slog.New(slog.DiscardHandler)}, log: slog.New(slog.DiscardHandler),
	}, behind
}

func (s *staging) put(t *testing.T, msgs ...frame.Message) {
	t.Helper()
	var entries []lanes.Entry
	for _, m := range msgs {
		m.Time = time.Now()
		entries = append(entries, lanes.Entry{Message: m, Lanes: []*lanes.Lane{s.lane}})
	}
	if err := s.store.Append(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

// start runs the staging in a router until the test ends.
func (s *staging) start(t *testing.T) {
	t.Helper()
	r, err := newRouter("test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.add("before", "", s, s.handle)
	if err := r.start(t.Context(), func(error) {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.stop() })
}

func readTopics(t *testing.T, l *lanes.Lane, count int) (topics []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(topics) < count {
		msgs, err := l.Next(ctx, count-len(topics), 1<<20)
		if err != nil {
			t.Fatalf("after %q: %v", topics, err)
		}
		for _, m := range msgs {
			topics = append(topics, m.Topic)
		}
	}
	return topics
}

// A stage drops, splits and refuses messages, and what becomes of one nobody wants. Is each accounted for, and in its place?
func TestWhatStagesMakeOfMessagesIsAccountedFor(t *testing.T) {
	store, broker := testStore(t), &wire{}
	s, behind := testStaging(t, store, broker, stepOf("mixed", func(_ time.Time, in []stage.Message) (out stage.Output, _ error) {
		for _, m := range in {
			switch m.Topic {
			case "drop":
			case "refuse":
				out.Refused = append(out.Refused, stage.Refusal{ID: m.ID, Reason: "no JSON"})
			case "split":
				for _, topic := range []string{"half/1", "nobody", "half/2"} {
					m.Topic = topic
					out.Messages = append(out.Messages, m)
				}
			default:
				out.Messages = append(out.Messages, m)
			}
		}
		return out, nil
	}))
	var msgs []frame.Message
	for _, topic := range []string{"a", "drop", "split", "refuse", "nobody", "b"} {
		msgs = append(msgs, frame.Message{Topic: topic, QoS: 2, Payload: []byte("{")})
	}
	s.put(t, msgs...)
	s.start(t)
	if got := readTopics(t, behind, 4); !slices.Equal(got, []string{"a", "half/1", "half/2", "b"}) {
		t.Errorf("behind the stages are %q", got)
	}
	await(t, func() bool { return s.lane.Empty() })
	want := map[string]uint64{reasonStages: 1, reasonUnwanted: 1, reasonUndeliverable: 1}
	if got := s.lane.Stats(); got.Delivered != 3 || !mapsEqual(got.Dropped, want) {
		t.Errorf("account %+v, want %v dropped", got, want)
	}
	letters := broker.letters(t)
	if len(letters) != 1 || letters[0].Topic != "refuse" || letters[0].Reason != "stage mixed: no JSON" || letters[0].Lane != "before" {
		t.Errorf("dead letters %+v", letters)
	}
}

// A stage does not answer for a while. Do the messages wait in their lane, does the status say why, and do they go on in order?
func TestMessagesWaitInTheirLaneWhileAStageDoesNotAnswer(t *testing.T) {
	store := testStore(t)
	var down atomic.Bool
	down.Store(true)
	s, behind := testStaging(t, store, &wire{}, stepOf("modem", func(_ time.Time, in []stage.Message) (stage.Output, error) {
		if down.Load() {
			return stage.Output{}, errors.New("the program is not running")
		}
		return stage.Output{Messages: in}, nil
	}))
	s.put(t, frame.Message{Topic: "1", QoS: 1}, frame.Message{Topic: "2", QoS: 0}, frame.Message{Topic: "3", QoS: 1})
	s.start(t)
	await(t, func() bool {
		l := s.status()
		return l.State == "waiting" && strings.Contains(l.Error, "stage modem: the program is not running") && l.Depth == 3
	})
	down.Store(false)
	if got := readTopics(t, behind, 3); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("behind the stages are %q", got)
	}
	await(t, func() bool { return s.status().State == "idle" })
}

// What a stage keeps back is in its lane, while what came after it has left, and it is given to a stage made anew after a restart.
func TestWhatAStageKeepsStaysInItsLane(t *testing.T) {
	dir := t.TempDir()
	open := func() *lanes.Store {
		store, err := lanes.Open(dir, lanes.Options{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	// It keeps what is on "keep" until it is called again after that, which the first one never is.
	sample := func(later time.Duration) stage.Step {
		return stage.Step{Name: "sample", New: func() (stage.Stage, error) {
			var kept []stage.Message
			return stageFunc(func(now time.Time, in []stage.Message) (out stage.Output, _ error) {
				for _, m := range in {
					if m.Topic == "keep" {
						kept, out.Kept = append(kept, m), append(out.Kept, m.ID)
						out.Again = now.Add(later)
						continue
					}
					out.Messages = append(out.Messages, m)
				}
				if len(in) == 0 {
					out.Messages, kept = kept, nil
				}
				return out, nil
			}), nil
		}}
	}
	store := open()
	s, behind := testStaging(t, store, &wire{}, sample(time.Hour))
	s.put(t, frame.Message{Topic: "keep", QoS: 2}, frame.Message{Topic: "a", QoS: 2})
	msgs, err := s.lane.Next(t.Context(), 10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	msg := message.NewMessage("", nil)
	msg.SetContext(context.WithValue(t.Context(), turnKey{}, msgs))
	if err := s.handle(msg); err != nil {
		t.Fatal(err)
	}
	if got := readTopics(t, behind, 1); got[0] != "a" || s.lane.Stats().Depth != 1 {
		t.Fatalf("behind the stages is %q, before them %+v", got, s.lane.Stats())
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	store = open()
	t.Cleanup(func() { _ = store.Close() })
	s, behind = testStaging(t, store, &wire{}, sample(0))
	s.start(t)
	if got := readTopics(t, behind, 2); !slices.Equal(got, []string{"a", "keep"}) { // nobody has acknowledged the first one
		t.Errorf("after the restart %q are behind the stages", got)
	}
	await(t, func() bool { return s.lane.Empty() })
}

// The broker is away when a stage refuses one message and passes another one on. Does that one wait with it, instead of being lost?
func TestWhatStagesGiveWaitsForTheDeadLettersBesideIt(t *testing.T) {
	var failed atomic.Int32
	store, broker := testStore(t), &wire{refuse: func([]byte) error {
		if failed.Add(1) <= 2 {
			return errors.New("not connected")
		}
		return nil
	}}
	s, behind := testStaging(t, store, broker, stepOf("half", func(_ time.Time, in []stage.Message) (stage.Output, error) {
		return stage.Output{Messages: in[1:], Refused: []stage.Refusal{{ID: in[0].ID, Reason: "no JSON"}}}, nil
	}))
	s.put(t, frame.Message{Topic: "refuse", QoS: 1}, frame.Message{Topic: "pass", QoS: 1})
	s.start(t)
	await(t, func() bool { return s.lane.Empty() })
	if got := s.lane.Stats(); got.Delivered != 1 || !mapsEqual(got.Dropped, map[string]uint64{reasonUndeliverable: 1}) {
		t.Fatalf("account %+v", got)
	}
	if got := readTopics(t, behind, 1); got[0] != "pass" {
		t.Errorf("behind the stages is %q", got)
	}
}

// A message is dropped in favour of a later one, and the process is killed when that is behind the stages. Is the dropped one gone, so
// that it does not come behind the later one after the restart?
func TestDroppedMessageDoesNotComeBackWithoutWhatWasGivenInItsPlace(t *testing.T) {
	dir := t.TempDir()
	store, err := lanes.Open(dir, lanes.Options{FlushPeriod: time.Hour}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	s, behind := testStaging(t, store, &wire{}, stepOf("last", func(_ time.Time, in []stage.Message) (stage.Output, error) {
		return stage.Output{Messages: in[len(in)-1:]}, nil
	}))
	s.put(t, frame.Message{Topic: "old", QoS: 1}, frame.Message{Topic: "new", QoS: 1})
	s.start(t)
	readTopics(t, behind, 1)
	await(t, func() bool { return s.lane.Empty() })
	killed := t.TempDir()
	if err := os.CopyFS(filepath.Join(killed, "journal"), os.DirFS(filepath.Join(dir, "journal"))); err != nil {
		t.Fatal(err)
	}
	after, err := lanes.Open(killed, lanes.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = after.Close() })
	if before, behind := after.Lane("before", lanes.Limits{}).Stats().Depth, after.Lane("behind", lanes.Limits{}).Stats().Depth; before != 0 || behind != 1 {
		t.Errorf("%d messages before the stages, %d behind them", before, behind)
	}
}

// silentBroker is a broker that nobody publishes to.
type silentBroker struct{ endingBroker }

func (*silentBroker) SubscribeAll(ctx context.Context, _ map[string]byte) (<-chan *message.Message, error) {
	nothing := make(chan *message.Message)
	context.AfterFunc(ctx, func() { close(nothing) })
	return nothing, nil
}

// stagedNode is a node whose only route, to everybody, has a stage.
func stagedNode(t *testing.T, store *lanes.Store, network *endingNetwork, queue lanes.Limits, step stage.Step) *Node {
	t.Helper()
	all := Route{Name: "all", Match: []string{"#"}, To: "hub", Mode: Broadcast, QoS: 1, Batch: Batch{Count: 10, Bytes: 1 << 10}, Queue: queue}
	n, err := New(Config{Node: "alice", DataDir: t.TempDir(), Routes: []Route{all}}, testIdentity(t, 1), store,
		&silentBroker{}, Transports{"hub": network},
		stage.Steps{Routes: map[string][]stage.Step{"all": {step}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The node is stopped while a message at QoS 0, which is in memory only, is in the stages. Does it go out before the end?
func TestStoppingNodeDrainsItsStages(t *testing.T) {
	network := &endingNetwork{}
	var n *Node
	n = stagedNode(t, testStore(t), network, lanes.Limits{}, stepOf("slow", func(_ time.Time, in []stage.Message) (stage.Output, error) {
		for !n.outRouter.stopping.Load() {
			runtime.Gosched()
		}
		return stage.Output{Messages: in}, nil
	}))
	n.stagings[0].put(t, frame.Message{Topic: "a"}, frame.Message{Topic: "b"})
	if err := n.Start(t.Context(), func(error) {}); err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if len(network.got) != 1 {
		t.Errorf("%d frames went out", len(network.got))
	}
}

// The lane before the stages is full, and the broker waits for it. Does the status say so?
func TestStatusNamesAFullLaneBeforeStages(t *testing.T) {
	n := stagedNode(t, testStore(t), &endingNetwork{}, lanes.Limits{Bytes: 30, WhenFull: lanes.Block}, stepOf("never", nil))
	n.stagings[0].put(t, frame.Message{Topic: "topic", QoS: 1})
	if problems := strings.Join(n.Status().Problems, " "); !strings.Contains(problems, "lane all/+stages is full") {
		t.Errorf("problems: %q", problems)
	}
}

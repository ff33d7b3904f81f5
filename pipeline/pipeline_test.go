package pipeline

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/profile"
	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

func testIdentity(t *testing.T, seed byte) *identity.Identity {
	t.Helper()
	id, err := identity.New(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func testStore(t *testing.T) *lanes.Store {
	t.Helper()
	store, err := lanes.Open(t.TempDir(), lanes.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// testPeers are bob, carol and dave, with the identities 2, 3 and 4.
func testPeers(t *testing.T) []*peer {
	t.Helper()
	var list []Peer
	for i, name := range []string{"bob", "carol", "dave"} {
		list = append(list, Peer{Name: name, Key: testIdentity(t, byte(i+2)).Public(), At: map[string]string{"bird": "mqtt_" + name}})
	}
	peers, err := newPeers("alice", testIdentity(t, 1), list, nil)
	if err != nil {
		t.Fatal(err)
	}
	return peers
}

func announce(t *testing.T, in *interests, seed byte, node string, version uint64, filters ...string) (bool, error) {
	t.Helper()
	data, err := profile.Encode(testIdentity(t, seed), node, version, []profile.Entry{{Peer: testIdentity(t, 1).Public(), Filters: filters}})
	if err != nil {
		t.Fatal(err)
	}
	news, err := in.take(transports.Announcement{Node: "mqtt_" + node, Profile: data})
	if err == nil {
		err = in.rebuild()
	}
	return news, err
}

func testInterests(t *testing.T, dir string) *interests {
	t.Helper()
	in, err := newInterests("bird", false, dir, testIdentity(t, 1), testPeers(t), &bell{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func wanting(in *interests, topic string) []int {
	found := in.view.Load().wants.AppendMatch(nil, topic)
	slices.Sort(found)
	return found
}

func TestWishesTakeEffectAndSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	in := testInterests(t, dir)
	if got := wanting(in, "doors/1"); len(got) != 0 {
		t.Fatalf("before any profile %v want doors/1", got)
	}
	for seed, node := range map[byte]string{2: "bob", 4: "dave"} {
		if news, err := announce(t, in, seed, node, 10, "doors/#"); !news || err != nil {
			t.Fatal(news, err)
		}
	}
	if got := wanting(in, "doors/1"); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("%v want doors/1, not bob and dave", got)
	}
	if news, err := announce(t, in, 2, "bob", 11, "fridges/#"); !news || err != nil {
		t.Fatal(news, err)
	}
	if got := wanting(testInterests(t, dir), "doors/1"); !slices.Equal(got, []int{2}) {
		t.Errorf("after a restart %v want doors/1, not dave alone", got)
	}
}

func TestProfileThatIsOldForgedOrOfAnotherNameChangesNothing(t *testing.T) {
	in := testInterests(t, t.TempDir())
	if _, err := announce(t, in, 2, "bob", 10, "doors/#"); err != nil {
		t.Fatal(err)
	}
	if news, err := announce(t, in, 2, "bob", 9, "#"); news || err != nil {
		t.Errorf("an older version: news %v, error %v", news, err)
	}
	if news, err := announce(t, in, 3, "bob", 11, "#"); news || err == nil {
		t.Errorf("signed by carol: news %v, error %v", news, err)
	}
	if news, err := in.take(transports.Announcement{Node: "mqtt_bob"}); news || err != nil {
		t.Errorf("withdrawn by the directory: news %v, error %v", news, err)
	}
	if got := wanting(in, "alarms/1"); len(got) != 0 {
		t.Errorf("%v want alarms/1", got)
	}
}

// Dave has not announced himself: what he wants is not known, so all that matches is kept for him.
func TestEachPeerIsServedByTheFirstRouteThatMatches(t *testing.T) {
	store, peers := testStore(t), testPeers(t)
	in := testInterests(t, t.TempDir())
	for seed, node := range map[byte]string{2: "bob", 3: "carol"} {
		if _, err := announce(t, in, seed, node, 1, "doors/#", "x/#"); err != nil {
			t.Fatal(err)
		}
	}
	var routes []*route
	for _, cfg := range []Route{
		{Name: "doors", Match: []string{"doors/#"}, To: "bird", Mode: Direct, QoS: 1},
		{Name: "all", Match: []string{"#"}, To: "bird", Mode: Direct, QoS: 2},
		{Name: "news", Match: []string{"doors/+", "news/#"}, To: "bird", Mode: Broadcast},
		{Name: "more", Match: []string{"news/#"}, To: "bird", Mode: Broadcast},
	} {
		routes = append(routes, newRoute(cfg, store, peers, in))
	}
	a, err := newAddressing(routes, peers)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		topic string
		want  []string
		qos   byte
	}{
		{"doors/1", []string{"doors/bob", "doors/carol", "doors/dave", "news/*"}, 1},
		{"x/1", []string{"all/bob", "all/carol", "all/dave"}, 2},
		{"news/1", []string{"all/dave", "news/*"}, 2},
		{"$SYS/x", nil, 0},
		{"y", []string{"all/dave"}, 2},
	} {
		a.look()
		due, qos := a.due(nil, tc.topic)
		var names []string
		for _, l := range due {
			names = append(names, l.Name())
		}
		slices.Sort(names)
		if !slices.Equal(names, tc.want) || qos != tc.qos {
			t.Errorf("%s is due in %v at QoS %d, want %v at %d", tc.topic, names, qos, tc.want, tc.qos)
		}
	}
}

// wire is a transport or a broker that keeps what is published, and refuses what the test says.
type wire struct {
	mu     sync.Mutex
	got    []*message.Message
	refuse func([]byte) error
}

func (w *wire) Publish(_ string, msgs ...*message.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range msgs {
		if w.refuse != nil {
			if err := w.refuse(m.Payload); err != nil {
				return err
			}
		}
		w.got = append(w.got, m)
	}
	return nil
}

func (w *wire) Close() error              { return nil }
func (w *wire) Report() transports.Report { return transports.Report{State: transports.Up} }

// opened returns the topics of all messages in the frames, as bob opens them.
func (w *wire) opened(t *testing.T) (topics []string) {
	t.Helper()
	for _, m := range w.got {
		e, err := frame.Parse(m.Payload)
		if err != nil {
			t.Fatal(err)
		}
		f, err := e.Open("bob", testIdentity(t, 1).Public(), testIdentity(t, 2).Opener(frame.SealInfo("alice", "bob")))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range f.Messages {
			topics = append(topics, m.Topic)
		}
	}
	return topics
}

func testDelivery(t *testing.T, network, broker *wire) (*delivery, *lanes.Store) {
	t.Helper()
	store, in := testStore(t), testInterests(t, t.TempDir())
	if _, err := announce(t, in, 2, "bob", 1, "#"); err != nil {
		t.Fatal(err)
	}
	lane := store.Lane("r/bob", lanes.Limits{})
	return &delivery{
		node: "alice", id: testIdentity(t, 1), to: testPeers(t)[0], epoch: store.Epoch(), lane: lane, drained: t.Context(),
		route: &route{
			Route:     Route{Name: "r", Match: []string{"#"}, To: "bird", Mode: Direct, QoS: 1},
			lanes:     []*lanes.Lane{lane},
			interests: in, transport: network, limit: func() int { return 0 },
		},
		dead: &deadLetters{sink: broker, log: slog.New(slog.DiscardHandler)}, log: slog.New(slog.DiscardHandler),
	}, store
}

// noise returns bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	for i, state := 0, uint64(1); i < n; i++ {
		state = state*6364136223846793005 + 1442695040888963407
		b[i] = byte(state >> 56)
	}
	return b
}

// thick refuses a frame of more than 2000 bytes for good.
func thick(data []byte) error {
	if len(data) > 2000 {
		return transports.Permanent(errors.New("too large, lay a thicker wire"))
	}
	return nil
}

func TestFrameTooLargeIsSplitAndMessageTooLargeIsBuriedAndTheLaneGoesOn(t *testing.T) {
	network, broker := &wire{refuse: thick}, &wire{}
	d, store := testDelivery(t, network, broker)
	noise := noise(3000)
	var entries []lanes.Entry
	for topic, payload := range map[string][]byte{"a": noise[:900]} {
		for _, suffix := range []string{"1", "2", "3"} {
			entries = append(entries, lanes.Entry{Message: frame.Message{Topic: topic + suffix, Payload: payload, QoS: 2, Time: time.Now()}, Lanes: []*lanes.Lane{d.lane}})
		}
	}
	entries[1].Message.Payload = noise // can never be delivered
	if err := store.Append(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	reader := &laneReader{lane: d.lane, batch: Batch{Count: 100, Bytes: 1 << 20}, origin: "alice", epoch: d.epoch, hope: d.route.interests.news.listen}
	frames, err := reader.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	msg := receive(t, frames)
	if err := d.handle(msg); err != nil {
		t.Fatal(err)
	}
	if got := network.opened(t); !slices.Equal(got, []string{"a1", "a3"}) {
		t.Errorf("delivered %v, want a1 and a3", got)
	}
	if len(broker.got) != 1 || broker.got[0].Metadata[transports.MetaTopic] != DeadTopic {
		t.Fatalf("dead letters: %v", broker.got)
	}
	var letter deadLetter
	if err := json.Unmarshal(broker.got[0].Payload, &letter); err != nil {
		t.Fatal(err)
	}
	if letter.Topic != "a2" || !bytes.Equal(letter.Payload, noise) || letter.Bytes != len(noise) || letter.Reason != "too large, lay a thicker wire" {
		t.Errorf("dead letter %+v", letter)
	}
	msg.Ack()
	await(t, func() bool { return d.lane.Stats().Depth == 0 })
	if s := d.lane.Stats(); s.In != 3 || s.Delivered != 2 || s.Dropped[reasonUndeliverable] != 1 {
		t.Errorf("account %+v", s)
	}
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestFrameIsOfferedUntilTheTransportTakesItAndNothingOvertakesIt(t *testing.T) {
	refusals := 3
	network := &wire{refuse: func([]byte) error {
		if refusals--; refusals >= 0 {
			return errors.New("link down")
		}
		return nil
	}}
	d, store := testDelivery(t, network, &wire{})
	reader := &laneReader{lane: d.lane, batch: Batch{Count: 2, Bytes: 1 << 20}, origin: "alice", epoch: d.epoch, hope: d.route.interests.news.listen}
	frames, err := reader.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, topic := range []string{"1", "2", "3", "4", "5"} {
		want = append(want, topic)
		entry := lanes.Entry{Message: frame.Message{Topic: topic, QoS: 1, Time: time.Now()}, Lanes: []*lanes.Lane{d.lane}}
		if err := store.Append(t.Context(), []lanes.Entry{entry}); err != nil {
			t.Fatal(err)
		}
	}
	for d.lane.Stats().Depth > 0 {
		msg := receive(t, frames)
		if d.handle(msg) != nil {
			msg.Nack()
			continue
		}
		depth := d.lane.Stats().Depth
		msg.Ack()
		await(t, func() bool { return d.lane.Stats().Depth < depth })
	}
	if got := network.opened(t); !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
}

// letters takes the dead letters out of what was published.
func (w *wire) letters(t *testing.T) (letters []deadLetter) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got = slices.DeleteFunc(w.got, func(m *message.Message) bool {
		if m.Metadata[transports.MetaTopic] != DeadTopic {
			return false
		}
		var letter deadLetter
		if err := json.Unmarshal(m.Payload, &letter); err != nil {
			t.Error(err)
		}
		letters = append(letters, letter)
		return true
	})
	return letters
}

func testIn(t *testing.T, broker message.Publisher, subs ...Subscription) *in {
	t.Helper()
	dir := t.TempDir()
	kept, err := newKeptFrames(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The receiver is bob, who lists alice.
	peers, err := newPeers("bob", testIdentity(t, 2), []Peer{{Name: "alice", Key: testIdentity(t, 1).Public()}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := newIn(Config{Node: "bob", DataDir: dir, Subscribe: subs}, peers, testStore(t), broker, &deadLetters{sink: broker, log: slog.New(slog.DiscardHandler)}, kept, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func fromAlice(t *testing.T, f *frame.Frame) *message.Message {
	t.Helper()
	data, err := frame.Seal(testIdentity(t, 1), "alice", "bob", testPeers(t)[0].sealer, f)
	if err != nil {
		t.Fatal(err)
	}
	return runOfOne(data)
}

func runOfOne(data []byte) *message.Message {
	run := message.NewMessage("", nil)
	run.SetContext(context.WithValue(context.Background(), runKey{}, []*message.Message{message.NewMessage("", data)}))
	return run
}

func TestOnlyWhatIsAskedForReachesTheBrokerAndOnlyOnce(t *testing.T) {
	broker := &wire{}
	n := testIn(t, broker,
		Subscription{Filter: "doors/+", AddPrefix: "from-alice/", MaxQoS: 1},
		Subscription{Filter: "doors/#", From: []string{"carol"}, MaxQoS: 2},
		Subscription{Filter: "#", From: []string{"carol"}, MaxQoS: 2})
	f := &frame.Frame{Lane: 7, Epoch: 1, Messages: []frame.Message{
		{Seq: 1, Topic: "doors/1", QoS: 2, Retain: true, Payload: []byte("open")},
		{Seq: 2, Topic: "doors/1/x", QoS: 1},
		{Seq: 3, Topic: "doors/+", QoS: 1}, // what no honest relay sends [MQTT-3.3.2-2]
	}}
	twice := fromAlice(t, f)
	again := fromAlice(t, f)
	twice.SetContext(context.WithValue(context.Background(), runKey{}, append(runOf(twice), runOf(again)...)))
	for _, run := range []*message.Message{twice, again} { // repeated within a run, and in another one
		if err := n.take(nil, run); err != nil {
			t.Fatal(err)
		}
	}
	letters := broker.letters(t)
	if len(broker.got) != 1 || len(letters) != 1 || letters[0].Topic != "doors/+" || letters[0].Lane != "from alice" {
		t.Fatalf("the broker got %d messages, want 1, and the dead letters %+v", len(broker.got), letters)
	}
	m := broker.got[0]
	if m.Metadata[transports.MetaTopic] != "from-alice/doors/1" || m.Metadata[transports.MetaQoS] != "1" || m.Metadata[transports.MetaRetain] != "1" || string(m.Payload) != "open" {
		t.Errorf("the broker got %v %q", m.Metadata, m.Payload)
	}
	want := map[string]uint64{refusedUnwanted: 1, refusedTopic: 1, refusedReplayed: 6}
	if got := n.refused.all(); !mapsEqual(got, want) {
		t.Errorf("refused %v, want %v", got, want)
	}
}

func mapsEqual(a, b map[string]uint64) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// widest is a broker that notes how much it was handed at once.
type widest struct {
	wire
	messages, bytes int
}

func (w *widest) Publish(_ string, msgs ...*message.Message) error {
	bytes := 0
	for _, m := range msgs {
		bytes += len(m.Metadata[transports.MetaTopic]) + len(m.Payload)
	}
	w.messages, w.bytes = w.messages+len(msgs), max(w.bytes, bytes)
	return nil
}

// In a frame a topic that repeats stands once; with a prefix each of its messages has a copy. Does a small frame of a peer gone
// bad take no more memory than any other batch?
func TestSmallFrameCannotTakeMuchMemory(t *testing.T) {
	broker := &widest{}
	n := testIn(t, broker, Subscription{Filter: "#", AddPrefix: "from/alice/", MaxQoS: 2})
	f := &frame.Frame{Messages: make([]frame.Message, 2000)}
	topic := strings.Repeat("t", 60_000)
	for i := range f.Messages {
		f.Messages[i] = frame.Message{Seq: uint64(i + 1), Topic: topic}
	}
	if err := n.take(nil, fromAlice(t, f)); err != nil {
		t.Fatal(err)
	}
	if broker.messages != 2000 || broker.bytes > maxBatchBytes+len(topic)+1000 {
		t.Errorf("%d messages, up to %d bytes at once", broker.messages, broker.bytes)
	}
}

// newerVersion returns the frame as one of a later version, signed by the identity.
func newerVersion(t *testing.T, seed byte, data []byte) []byte {
	t.Helper()
	newer := bytes.Clone(data[:len(data)-ed25519.SignatureSize])
	newer[2] = 9
	return append(newer, testIdentity(t, seed).Sign(newer)...)
}

func TestHostileFramesAreCountedAndAcknowledged(t *testing.T) {
	broker := &wire{}
	n := testIn(t, broker, Subscription{Filter: "#", MaxQoS: 2})
	f := &frame.Frame{Messages: []frame.Message{{Seq: 1, Topic: "x"}}}
	genuine := runOf(fromAlice(t, f))[0].Payload
	flipped := bytes.Clone(genuine)
	flipped[10] ^= 0x80
	newer := newerVersion(t, 1, genuine)
	unproven := newerVersion(t, 9, genuine)
	carol, err := identity.NewRecipient(testIdentity(t, 3).Public())
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := frame.Seal(testIdentity(t, 1), "alice", "carol", carol.Sealer(frame.SealInfo("alice", "carol")), f)
	if err != nil {
		t.Fatal(err)
	}
	signature := bytes.Clone(genuine)
	signature[len(signature)-1] ^= 1
	for reason, data := range map[string][]byte{
		refusedMalformed: []byte("rubbish"),
		refusedStranger:  frame.Sign(testIdentity(t, 9), "mallory", f),
		refusedSignature: signature,
		refusedRecipient: elsewhere,
		refusedVersion:   newer,
		refusedLoop:      frame.Sign(testIdentity(t, 2), "bob", f),
	} {
		if err := n.take(nil, runOfOne(data)); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		if got := n.refused.all()[reason]; got != 1 {
			t.Errorf("%s counted %d times", reason, got)
		}
	}
	if err := n.take(nil, runOfOne(unproven)); err != nil {
		t.Error(err)
	}
	if len(broker.got) != 0 {
		t.Errorf("the broker got %v", broker.got)
	}
	if files, _ := filepath.Glob(filepath.Join(n.kept.dir, "*.frame")); len(files) != 1 {
		t.Errorf("kept %v, want the peer's frame of the newer version", files)
	}
}

// A frame that was kept for its version comes again once it can be read. The test gives it a version that can.
func TestKeptFrameComesAgainWhenItCanBeRead(t *testing.T) {
	n := testIn(t, &wire{}, Subscription{Filter: "#", MaxQoS: 2})
	readable := runOf(fromAlice(t, &frame.Frame{Messages: []frame.Message{{Seq: 1, Topic: "x"}}}))[0].Payload
	for _, data := range [][]byte{newerVersion(t, 1, readable), readable} {
		if _, err := n.kept.keep("alice", data); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	frames, err := n.kept.Subscribe(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	msg := receive(t, frames)
	if !bytes.Equal(msg.Payload, readable) {
		t.Fatal("another frame came")
	}
	msg.Ack()
	await(t, func() bool { files, _ := n.kept.list(); return len(files) == 1 })
	cancel()
	if _, ok := <-frames; ok {
		t.Error("the newer frame came as well")
	}
}

func TestSourceSubscribesToADisjointCoverWithTheHighestQoS(t *testing.T) {
	got := sourceFilters([]Route{
		{Match: []string{"doors/1", "doors/#"}, QoS: 1},
		{Match: []string{"doors/2", "alarms/+"}, QoS: 2},
	})
	if len(got) != 2 || got["doors/#"] != 2 || got["alarms/+"] != 2 {
		t.Errorf("subscribes to %v", got)
	}
}

// A relay without a clock of its own may start in the past: what it announces must still be newer than what it announced before.
func TestAnnouncedVersionsGrowThoughTheClockGoesBack(t *testing.T) {
	d := &directory{board: board{interests: testInterests(t, t.TempDir())}}
	var last uint64
	for _, clock := range []uint64{1000, 2000, 5, 5, 1999, 3000} {
		version, err := d.newVersion(clock)
		if err != nil {
			t.Fatal(err)
		}
		if version <= last || version < clock {
			t.Fatalf("version %d after %d at %d", version, last, clock)
		}
		last = version
	}
}

// A broker that hangs up on large packets refuses the letter about one as well: the lane goes on all the same.
func TestDeadLetterThatTheBrokerRefusesGoesWithoutItsPayload(t *testing.T) {
	limit := 1000
	broker := &wire{}
	broker.refuse = func(body []byte) error {
		if len(body) > limit {
			return &mqtt.Refusal{Reason: "the broker hung up"}
		}
		return nil
	}
	dead := &deadLetters{sink: broker, log: slog.New(slog.DiscardHandler)}
	letter := deadLetter{Reason: "too large", Topic: "t", Payload: make([]byte, 5000)}
	if err := dead.publish(t.Context(), letter); err != nil {
		t.Fatal(err)
	}
	var got deadLetter
	if err := json.Unmarshal(broker.got[0].Payload, &got); err != nil {
		t.Fatal(err)
	}
	if got.Payload != nil || got.Bytes != 5000 {
		t.Errorf("letter %+v", got)
	}
	limit = 0
	if err := dead.publish(t.Context(), letter); err != nil {
		t.Errorf("a letter that is refused altogether: %v", err)
	}
}

// A peer that sends frame after frame in a newer version puts out its own, and not those of another peer.
func TestKeptFramesAreBoundedAndNoPeerPutsOutThoseOfAnother(t *testing.T) {
	kept, err := newKeptFrames(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxKeptFiles {
		peer := "mallory"
		if i < 3 {
			peer = "alice"
		}
		if err := os.WriteFile(filepath.Join(kept.dir, fmt.Sprintf("%020d.%s.frame", i, peer)), []byte("wf\x09"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lost := 0
	for range 5 {
		n, err := kept.keep("mallory", []byte("wf\x09"))
		if err != nil {
			t.Fatal(err)
		}
		lost += n
	}
	count := func() map[string]int {
		files, err := kept.list()
		if err != nil {
			t.Fatal(err)
		}
		byPeer := map[string]int{}
		for _, f := range files {
			byPeer[f.peer]++
		}
		return byPeer
	}
	if got := count(); got["alice"] != 3 || got["mallory"] != maxKeptFiles-3 || lost != 5 {
		t.Errorf("%v kept, %d lost", got, lost)
	}
	if _, err := kept.keep("mallory", make([]byte, maxKept)); err != nil {
		t.Fatal(err)
	}
	if got := count(); got["alice"] != 3 {
		t.Errorf("a frame that fits nowhere has put out another peer's: %v kept", got)
	}
}

func TestWhatTransportsBringWaitsForTheKeptFrames(t *testing.T) {
	kept, err := newKeptFrames(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kept.keep("alice", runOf(fromAlice(t, &frame.Frame{Messages: []frame.Message{{Seq: 1, Topic: "x"}}}))[0].Payload); err != nil {
		t.Fatal(err)
	}
	in := make(fromChannel, 1)
	in <- message.NewMessage("later", nil)
	later, err := afterKept{in, kept}.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	first, err := kept.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	frame := receive(t, first)
	select {
	case <-later:
		t.Fatal("a later frame came first")
	default:
	}
	frame.Ack()
	receive(t, later)
}

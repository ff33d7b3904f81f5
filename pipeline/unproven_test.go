package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/profile"
	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

// openIn is the way in of bob, who lists alice, dora and keyed over bird, which authenticates names; keyed alone has a key.
func openIn(t *testing.T, broker message.Publisher, subs ...Subscription) (*in, users) {
	t.Helper()
	dir := t.TempDir()
	kept, err := newKeptFrames(dir)
	if err != nil {
		t.Fatal(err)
	}
	peers, err := newPeers("bob", testIdentity(t, 2), []Peer{
		{Name: "alice", At: map[string]string{"bird": "mqtt_alice"}},
		{Name: "dora"},
		{Name: "keyed", Key: testIdentity(t, 5).Public(), At: map[string]string{"bird": "mqtt_keyed"}},
		{Name: "elsewhere", At: map[string]string{"swan": "mqtt_elsewhere"}},
	}, []string{"bird", "swan"})
	if err != nil {
		t.Fatal(err)
	}
	dead := &deadLetters{sink: broker, log: slog.New(slog.DiscardHandler)}
	n, err := newIn(Config{Node: "bob", DataDir: dir, Subscribe: subs}, peers, testStore(t), broker, dead, kept, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return n, usersOf(peers, "bird")
}

// delivered is a run of one message that the network delivers, from the user if that is not empty.
func delivered(user string, payload []byte, meta ...string) *message.Message {
	run := runOfOne(payload)
	m := runOf(run)[0]
	if user != "" {
		m.Metadata[transports.MetaFrom] = user
	}
	for i := 0; i < len(meta); i += 2 {
		m.Metadata[meta[i]] = meta[i+1]
	}
	return run
}

func oneOf(topic string) *frame.Frame {
	return &frame.Frame{Lane: 1, Epoch: 1, Messages: []frame.Message{{Seq: 1, Topic: topic, QoS: 2}}}
}

// Which frames does a node take that lists some peers without a key?
func TestFrameThatNobodySignedIsTakenOnlyFromTheUserThatTheNetworkNames(t *testing.T) {
	alice, keyed := testIdentity(t, 1), testIdentity(t, 5)
	plain := frame.Plain("alice", oneOf("x"))
	newer := bytes.Clone(plain)
	newer[2] = 9
	sealed, err := frame.Seal(alice, "alice", "bob", testPeers(t)[0].sealer, oneOf("x")) // bob's key is that of testPeers
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		from    string
		data    []byte
		open    bool // the transport authenticates names
		refused string
		letter  bool
	}{
		"plain":                          {from: "mqtt_alice", data: plain, open: true},
		"signed with whatever key":       {from: "mqtt_alice", data: frame.Sign(alice, "alice", oneOf("x")), open: true},
		"sealed and signed":              {from: "mqtt_alice", data: sealed, open: true},
		"keyed and signed":               {from: "mqtt_keyed", data: frame.Sign(keyed, "keyed", oneOf("x")), open: true},
		"keyed and signed, sent by eve":  {from: "eve", data: frame.Sign(keyed, "keyed", oneOf("x")), open: true},
		"keyed and signed, on another":   {data: frame.Sign(keyed, "keyed", oneOf("x"))},
		"plain without a sender":         {data: plain, open: true, refused: refusedSignature},
		"plain of another peer":          {from: "dora", data: plain, open: true, refused: refusedSignature},
		"plain of a stranger":            {from: "eve", data: plain, open: true, refused: refusedSignature},
		"plain with the node's name":     {from: "alice", data: plain, open: true, refused: refusedSignature},
		"plain, network proves nothing":  {from: "mqtt_alice", data: plain, refused: refusedSignature},
		"signed, network proves nothing": {from: "mqtt_alice", data: frame.Sign(alice, "alice", oneOf("x")), refused: refusedSignature},
		"signed without a sender":        {data: frame.Sign(alice, "alice", oneOf("x")), open: true, refused: refusedSignature},
		"plain of one with a key":        {from: "mqtt_keyed", data: frame.Plain("keyed", oneOf("x")), open: true, refused: refusedSignature, letter: true},
		"with another key":               {from: "mqtt_keyed", data: frame.Sign(alice, "keyed", oneOf("x")), open: true, refused: refusedSignature, letter: true},
		"plain with a key, from nobody":  {data: frame.Plain("keyed", oneOf("x")), refused: refusedSignature},
		"stranger's own":                 {from: "eve", data: frame.Plain("eve", oneOf("x")), open: true, refused: refusedStranger},
		"of one elsewhere":               {from: "elsewhere", data: frame.Plain("elsewhere", oneOf("x")), open: true, refused: refusedSignature},
		"damaged":                        {from: "mqtt_alice", data: plain[:len(plain)-3], open: true, refused: refusedMalformed, letter: true},
		"damaged, of a stranger":         {from: "eve", data: plain[:len(plain)-3], open: true, refused: refusedMalformed},
		"newer":                          {from: "mqtt_alice", data: newer, open: true, refused: refusedVersion},
		"newer, of a stranger":           {from: "eve", data: newer, open: true, refused: refusedSignature},
		"own":                            {from: "mqtt_alice", data: frame.Plain("bob", oneOf("x")), open: true, refused: refusedLoop},
	} {
		t.Run(name, func(t *testing.T) {
			broker := &wire{}
			n, who := openIn(t, broker, Subscription{Filter: "#", MaxQoS: 2})
			if !tc.open {
				who = nil
			}
			if err := n.from(who)(delivered(tc.from, tc.data)); err != nil {
				t.Fatal(err)
			}
			letters := broker.letters(t)
			if (len(letters) == 1) != tc.letter || (len(broker.got) == 1) != (tc.refused == "") {
				t.Errorf("the broker got %d messages, dead letters %+v", len(broker.got), letters)
			}
			want := map[string]uint64{}
			if tc.refused != "" {
				want[tc.refused] = 1
			}
			if got := n.refused.all(); !mapsEqual(got, want) && len(want)+len(got) > 0 {
				t.Errorf("refused %v, want %v", got, want)
			}
			files, _ := filepath.Glob(filepath.Join(n.kept.dir, "*.frame"))
			if kept := len(files) == 1; kept != (tc.refused == refusedVersion) {
				t.Errorf("kept %v", files)
			}
		})
	}
}

// A plain frame of a newer version was kept when the network said whose it is. Is it taken by the version that can read it?
func TestKeptPlainFrameIsTakenAsOfThePeerThatSentIt(t *testing.T) {
	broker := &wire{}
	n, _ := openIn(t, broker, Subscription{Filter: "#", MaxQoS: 2})
	for peer, origin := range map[string]string{"alice": "alice", "dora": "alice"} {
		if _, err := n.kept.keep(peer, frame.Plain(origin, oneOf("of "+peer))); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runs, err := gather{n.kept}.Subscribe(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		run := receive(t, runs)
		if err := n.from(users(n.peers))(run); err != nil {
			t.Fatal(err)
		}
		run.Ack()
	}
	if len(broker.got) != 1 || broker.got[0].Metadata[transports.MetaTopic] != "of alice" {
		t.Errorf("the broker got %v", broker.got)
	}
}

func bare(user, topic, payload, qos string) *message.Message {
	return delivered(user, []byte(payload), transports.MetaTopic, topic, transports.MetaQoS, qos, transports.MetaRetain, "1")
}

func TestSingleMessageOfAPeerIsTakenLikeAFrameOfOneThoughNeverAtQoS2(t *testing.T) {
	broker := &wire{}
	n, who := openIn(t, broker, Subscription{Filter: "doors/+", From: []string{"alice"}, AddPrefix: "from/", MaxQoS: 2})
	take := n.from(who)
	for _, m := range []*message.Message{
		bare("mqtt_alice", "doors/1", "open", "2"),
		bare("mqtt_alice", "doors/1", "open", "2"), // said twice: it has no number
		bare("mqtt_alice", "doors/1", "open", "0"),
		bare("mqtt_alice", "lamps/1", "on", "1"), // unwanted
		bare("dora", "doors/1", "open", "1"),     // not wanted of her
		bare("mqtt_alice", "doors/+", "", "1"),   // no topic
		bare("eve", "doors/1", "open", "1"),
		bare("", "doors/1", "open", "1"),
		bare("mqtt_keyed", "doors/1", "open", "1"),
	} {
		if err := take(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.take(nil, bare("mqtt_alice", "doors/1", "open", "1")); err != nil { // over a transport that proves no names
		t.Fatal(err)
	}
	letters := broker.letters(t)
	if len(letters) != 2 || letters[0].Topic != "doors/+" || letters[1].Lane != "from keyed" || string(letters[1].Payload) != "open" {
		t.Errorf("dead letters %+v", letters)
	}
	uuids := map[string]bool{}
	for i, m := range broker.got {
		uuids[m.UUID] = true
		want := map[string]string{transports.MetaTopic: "from/doors/1", transports.MetaQoS: []string{"1", "1", "0"}[min(i, 2)], transports.MetaRetain: "1"}
		for k, v := range want {
			if m.Metadata[k] != v {
				t.Errorf("message %d has %s %q, want %q", i, k, m.Metadata[k], v)
			}
		}
	}
	if len(broker.got) != 3 || len(uuids) != 3 {
		t.Errorf("the broker got %d messages with %d identities", len(broker.got), len(uuids))
	}
	want := map[string]uint64{refusedUnwanted: 2, refusedTopic: 1, refusedStranger: 2, refusedSignature: 1, refusedMalformed: 1}
	if got := n.refused.all(); !mapsEqual(got, want) {
		t.Errorf("refused %v, want %v", got, want)
	}
}

// Is a single message given back to the network as taken only when the broker has it, and one that the broker refuses not lost?
func TestSingleMessageIsAcknowledgedAfterTheBrokersAnswer(t *testing.T) {
	answer := errors.New("the broker is away")
	broker := &wire{refuse: func(body []byte) error {
		if string(body) == "open" {
			return answer
		}
		return nil
	}}
	n, who := openIn(t, broker, Subscription{Filter: "#", MaxQoS: 2})
	if n.from(who)(bare("mqtt_alice", "doors/1", "open", "1")) == nil {
		t.Error("acknowledged, and the broker does not have it")
	}
	refusing := &refuser{wire: broker}
	n.sink = refusing
	if err := n.from(who)(bare("mqtt_alice", "doors/1", "open", "1")); err != nil {
		t.Fatal(err)
	}
	letters := broker.letters(t)
	if len(letters) != 1 || letters[0].Lane != "from alice" || letters[0].Reason != "no" {
		t.Errorf("dead letters %+v", letters)
	}
}

// refuser is a broker that refuses every message for good.
type refuser struct{ *wire }

func (r *refuser) Publish(_ string, msgs ...*message.Message) error {
	refused := &mqtt.Refusal{Reason: "no"}
	for _, m := range msgs {
		refused.UUIDs = append(refused.UUIDs, m.UUID)
	}
	return refused
}

func openInterests(t *testing.T, dir string, peers []*peer) *interests {
	t.Helper()
	in, err := newInterests("bird", true, dir, testIdentity(t, 1), peers, &bell{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// keylessPeers are bob, without a key, and carol, with one.
func keylessPeers(t *testing.T) []*peer {
	t.Helper()
	peers, err := newPeers("alice", testIdentity(t, 1), []Peer{
		{Name: "bob", At: map[string]string{"bird": "mqtt_bob"}},
		{Name: "carol", Key: testIdentity(t, 3).Public(), At: map[string]string{"bird": "mqtt_carol"}},
	}, []string{"bird"})
	if err != nil {
		t.Fatal(err)
	}
	return peers
}

func show(t *testing.T, in *interests, user string, filters ...string) (news bool, err error) {
	t.Helper()
	news, err = in.takeWishes(transports.Wishes{Node: user, Filters: filters})
	in.note(user, err)
	if err := in.rebuild(); err != nil {
		t.Fatal(err)
	}
	return news, err
}

func TestShownWishesTakeEffectAndSurviveARestart(t *testing.T) {
	dir, peers := t.TempDir(), keylessPeers(t)
	in := openInterests(t, dir, peers)
	if news, _ := show(t, in, "mqtt_bob"); news || in.view.Load().lists(peers[0]) {
		t.Error("a peer that shows nothing has said what it wants")
	}
	for user, filters := range map[string][]string{"mqtt_bob": {"doors/#", "lamps/+", "doors/#"}, "mqtt_carol": {"doors/#"}, "eve": {"#"}, "bob": {"#"}} {
		news, err := show(t, in, user, filters...)
		if news != strings.HasPrefix(user, "mqtt_") || err != nil {
			t.Errorf("%s: news %v, error %v", user, news, err)
		}
	}
	if news, err := show(t, in, "mqtt_bob", "lamps/+", "doors/#"); news || err != nil {
		t.Errorf("the same in another order: news %v, error %v", news, err)
	}
	if got := in.of("bob"); got == nil || !got.Listed || !slices.Equal(got.Filters, []string{"doors/#", "lamps/+"}) {
		t.Errorf("bob wants %+v", got)
	}
	again := openInterests(t, dir, peers)
	if got := wanting(again, "doors/1"); !slices.Equal(got, []int{0, 1}) || again.view.Load().current(peers[0]) {
		t.Errorf("after a restart %v want doors/1, and bob counts as heard of: %v", got, again.view.Load().current(peers[0]))
	}
	if news, _ := show(t, again, "mqtt_bob", "doors/#", "lamps/+"); !news || !again.view.Load().current(peers[0]) {
		t.Error("what was kept and is shown again is no news")
	}
	if news, err := again.takeWishes(transports.Wishes{Node: "mqtt_bob", Filters: []string{}}); !news || err != nil {
		t.Error(news, err)
	}
	if err := again.rebuild(); err != nil {
		t.Fatal(err)
	}
	if got := wanting(again, "doors/1"); !slices.Equal(got, []int{1}) {
		t.Errorf("bob shows that he wants nothing, and %v want doors/1", got)
	}
	// The transport of that name is another one now: neither takes what the other has kept.
	if closed, err := newInterests("bird", false, dir, testIdentity(t, 1), peers[1:], &bell{}, slog.New(slog.DiscardHandler)); err != nil || closed.of("carol") != nil {
		t.Errorf("wishes were taken for a profile: %v", err)
	}
}

// Everybody can write what he likes into his own entry. What is no filter is left out, said once, and bounded.
func TestHostileEntryOfTheDirectoryIsSiftedAndBounded(t *testing.T) {
	peers := keylessPeers(t)
	in := openInterests(t, t.TempDir(), peers)
	filters := []string{"a#", "doors/#", "", "x\x00y", "\xff", "$share/g/x", strings.Repeat("x", 70_000)}
	for range 1000 {
		filters = append(filters, "#")
	}
	_, err := show(t, in, "mqtt_bob", filters...)
	if err == nil || !strings.Contains(err.Error(), "6 of 1007 filters are refused") || in.problem("bob") != err.Error() {
		t.Errorf("error %.300v", err)
	}
	if in.note("mqtt_bob", err) {
		t.Error("what was said before is news")
	}
	if got := in.of("bob").Filters; !slices.Equal(got, []string{"#", "doors/#"}) {
		t.Errorf("bob wants %q", got)
	}
	filters = filters[:0]
	for i := range profile.MaxFilters + 10 {
		filters = append(filters, fmt.Sprintf("%05d", i))
	}
	if _, err := show(t, in, "mqtt_bob", filters...); err == nil || len(in.of("bob").Filters) != profile.MaxFilters {
		t.Errorf("%d filters taken, error %v", len(in.of("bob").Filters), err)
	}
	filters = filters[:0]
	for i := range 20 {
		filters = append(filters, fmt.Sprintf("%d/%s", i, strings.Repeat("x", 65_000)))
	}
	if _, err := show(t, in, "mqtt_bob", filters...); err == nil || len(in.of("bob").Filters) != profile.MaxSize/65_000 {
		t.Errorf("%d filters of 65,000 bytes taken, error %v", len(in.of("bob").Filters), err)
	}
	if _, err := show(t, in, "mqtt_bob", "doors/#"); err != nil || in.problem("bob") != "" {
		t.Errorf("the problem stays: %q", in.problem("bob"))
	}
}

// A peer without a key is there only where names are authenticated: does a route elsewhere keep nothing for it, and the first that
// reaches it all that matches, before it was heard of as after?
func TestPeerWithoutAKeyHasLanesOnlyWhereItIsReached(t *testing.T) {
	store, peers := testStore(t), keylessPeers(t)
	hub, err := newInterests("hub", false, t.TempDir(), testIdentity(t, 1), peers, &bell{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	open := openInterests(t, t.TempDir(), peers)
	routes := []*route{
		newRoute(Route{Name: "first", Match: []string{"#"}, To: "hub", Mode: Direct, QoS: 2}, store, peers, hub),
		newRoute(Route{Name: "second", Match: []string{"doors/#"}, To: "bird", Mode: Direct, QoS: 1}, store, peers, open),
	}
	due := func(topic string) []string {
		names := dueIn(t, routes, peers, topic)
		slices.Sort(names)
		return names
	}
	if got := due("doors/1"); !slices.Equal(got, []string{"first/carol", "second/bob"}) {
		t.Errorf("before anybody was heard of doors/1 is due in %v", got)
	}
	if got := due("lamps/1"); !slices.Equal(got, []string{"first/carol"}) {
		t.Errorf("before anybody was heard of lamps/1 is due in %v", got)
	}
	if _, err := show(t, open, "mqtt_bob", "doors/1"); err != nil {
		t.Fatal(err)
	}
	if got := due("doors/1"); !slices.Equal(got, []string{"first/carol", "second/bob"}) {
		t.Errorf("doors/1 is due in %v", got)
	}
	if got := due("doors/2"); !slices.Equal(got, []string{"first/carol"}) {
		t.Errorf("doors/2 is due in %v", got)
	}
	if _, err := newPeers("alice", testIdentity(t, 1), []Peer{{Name: "bob"}}, nil); err == nil {
		t.Error("a peer that nothing reaches was taken")
	}
}

// steady is a transport that a test says more of than that it keeps what is published.
type steady struct {
	wire
	unit     int
	patience time.Duration
	publish  func(*message.Message) error
}

func (s *steady) Unit() int               { return s.unit }
func (s *steady) Patience() time.Duration { return s.patience }
func (s *steady) Bare(topic string) bool  { return topic == transports.Direct("bare") }
func (s *steady) Publish(topic string, msgs ...*message.Message) error {
	if s.publish != nil {
		for _, m := range msgs {
			if err := s.publish(m); err != nil {
				return err
			}
		}
	}
	return s.wire.Publish(topic, msgs...)
}

func steadyDelivery(t *testing.T, s *steady) (*delivery, *lanes.Store) {
	t.Helper()
	d, store := testDelivery(t, &wire{}, &wire{})
	d.route.transport = s
	return d, store
}

// A confirmation may take hours. Is the frame sent once all the same, is the wait shown, and does a stop end it at once?
func TestPatientTransportIsNotHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for patience, want := range map[time.Duration]time.Duration{0: 3 * time.Hour, time.Hour: time.Hour} {
			s := &steady{patience: patience, publish: func(m *message.Message) error {
				select {
				case <-time.After(3 * time.Hour):
					return nil
				case <-m.Context().Done():
					return m.Context().Err()
				}
			}}
			d, store := steadyDelivery(t, s)
			var stop context.CancelFunc
			d.drained, stop = context.WithCancel(context.Background())
			queue(t, store, d.lane, "doors/1")
			r := &laneReader{lane: d.lane, batch: Batch{Count: 1, Bytes: 1}, epoch: d.epoch, hope: d.route.interests.news.listen}
			ctx, cancel := context.WithCancel(t.Context())
			frames, err := r.Subscribe(ctx, "")
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			msg := <-frames
			result := make(chan error)
			go func() { result <- d.handle(msg) }()
			time.Sleep(30 * time.Minute)
			if l := d.status(); l.State != "moving" || l.OnItsWay.Sub(began) > time.Second || l.OnItsWay.IsZero() {
				t.Errorf("after half an hour the lane is %+v", l)
			}
			err = <-result
			if took := time.Since(began); took.Round(time.Minute) != want || (err == nil) != (patience == 0) {
				t.Errorf("with a patience of %v it took %v, error %v", patience, took, err)
			}
			if l := d.status(); !l.OnItsWay.IsZero() {
				t.Errorf("then the lane is %+v", l)
			}
			go func() { result <- d.handle(msg) }()
			time.Sleep(time.Minute)
			began = time.Now()
			stop()
			if err := <-result; err == nil || time.Since(began) > time.Second {
				t.Errorf("a stop took %v, error %v", time.Since(began), err)
			}
			msg.Nack()
			cancel()
			for range frames {
				t.Error("another frame")
			}
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Some peers understand single messages alone. Do they leave one by one, each once, with what is known of each, and past one that can
// never be delivered?
func TestSingleMessagesLeaveTheLaneOneByOne(t *testing.T) {
	down := false
	s := &steady{publish: func(m *message.Message) error {
		switch m.Metadata[transports.MetaTopic] {
		case "doors/large":
			return transports.Permanent(errors.New("too large"))
		case "doors/3":
			if down = !down; down {
				return errors.New("the daemon is away")
			}
		}
		return nil
	}}
	d, store := steadyDelivery(t, s)
	d.to.At["bird"], d.route.QoS, d.route.Priority = "bare", 2, -7
	if _, err := show(t, d.route.interests, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := announce(t, d.route.interests, 2, "bob", 2, "doors/#"); err != nil {
		t.Fatal(err)
	}
	var entries []lanes.Entry
	for i, topic := range []string{"doors/0", "lamps/0", "doors/1", "doors/large", "lamps/1", "doors/3", "doors/4"} {
		m := frame.Message{Topic: topic, Payload: []byte(topic), QoS: byte(i % 3), Retain: i == 2, Time: time.Now()}
		entries = append(entries, lanes.Entry{Message: m, Lanes: []*lanes.Lane{d.lane}})
	}
	if err := store.Append(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	frames := testFrames(t, d)
	for tries := 0; !d.lane.Empty(); tries++ {
		msg := receive(t, frames)
		if d.handle(msg) != nil {
			if tries > 0 {
				t.Fatal("it fails for ever")
			}
			if depth := d.lane.Stats().Depth; depth > 3 {
				t.Errorf("%d messages are still in the lane, those before the failure among them", depth)
			}
			msg.Nack()
			continue
		}
		msg.Ack()
		await(t, d.lane.Empty)
	}
	var got []string
	for _, m := range s.got {
		got = append(got, fmt.Sprint(m.Metadata[transports.MetaTopic], " ", string(m.Payload), " ", m.Metadata[transports.MetaQoS], m.Metadata[transports.MetaRetain], " ", m.Metadata[transports.MetaPriority]))
	}
	if want := []string{"doors/0 doors/0 0 -7", "doors/1 doors/1 11 -7", "doors/3 doors/3 1 -7", "doors/4 doors/4 0 -7"}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	if st := d.lane.Stats(); st.Delivered != 4 || st.Dropped[reasonUnwanted] != 2 || st.Dropped[reasonUndeliverable] != 1 {
		t.Errorf("the lane counts %+v", st)
	}
}

func TestFramesFillTheUnitsOfTheirNetwork(t *testing.T) {
	const unit = 1677
	random := noise(1 << 18)
	for name, tc := range map[string]struct {
		payload func(i int) []byte
		batch   Batch
		n       int
	}{
		"readings": {func(i int) []byte {
			return fmt.Appendf(nil, `{"temperature":%d.%d,"humidity":%d,"ok":true,"at":%d}`, i%40, i%10, i*7%100, i*i*7919)
		}, Batch{Count: 1000, Bytes: 256 << 10}, 20_000},
		"small batches":   {func(i int) []byte { return random[i*60:][:40+i%17] }, Batch{Count: 60, Bytes: 256 << 10}, 3_000},
		"uneven messages": {func(i int) []byte { return random[i*60:][:i*37%250] }, Batch{Count: 100, Bytes: 16 << 10, Period: time.Hour}, 3_000},
	} {
		t.Run(name, func(t *testing.T) {
			s := &steady{unit: unit}
			d, store := steadyDelivery(t, s)
			var entries []lanes.Entry
			for i := range tc.n {
				m := frame.Message{Topic: fmt.Sprint("sensors/", i%9), Payload: tc.payload(i), QoS: 1, Time: time.UnixMilli(int64(i))}
				entries = append(entries, lanes.Entry{Message: m, Lanes: []*lanes.Lane{d.lane}})
			}
			if err := store.Append(t.Context(), entries); err != nil {
				t.Fatal(err)
			}
			r := &laneReader{lane: d.lane, batch: tc.batch, epoch: d.epoch, hope: d.route.interests.news.listen}
			frames, err := r.Subscribe(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			for !d.lane.Empty() {
				msg := receive(t, frames)
				if err := d.handle(msg); err != nil {
					t.Fatal(err)
				}
				depth := d.lane.Stats().Depth
				left := msg.Context().Value(batchKey{}).(*laneBatch).left
				msg.Ack()
				await(t, func() bool { return left || depth == 0 || d.lane.Stats().Depth < depth })
			}
			bytes, units := 0, 0
			for _, m := range s.got[:len(s.got)-1] {
				bytes, units = bytes+len(m.Payload), units+(len(m.Payload)+unit-1)/unit
			}
			share := float64(bytes) / float64(units*unit)
			t.Logf("%d frames in %d units, %.1f %% of whose bytes are used", len(s.got), units, 100*share)
			if share < 0.95 {
				t.Errorf("%.1f %% of the units' bytes are used", 100*share)
			}
			if got := s.opened(t); len(got) != tc.n {
				t.Errorf("%d messages arrived", len(got))
			} else {
				for i, topic := range got {
					if topic != fmt.Sprint("sensors/", i%9) {
						t.Fatalf("message %d is on %s", i, topic)
					}
				}
			}
		})
	}
}

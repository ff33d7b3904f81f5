package twister

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// feedWorld is alice, who publishes, and bob, who follows; both daemons follow both.
type feedWorld struct {
	*twistertest.Network
	atAlice, atBob *twistertest.Daemon
	alice, bob     Config
}

func newFeedWorld(t testing.TB) *feedWorld {
	t.Helper()
	w := &feedWorld{}
	w.Network, w.atAlice, w.atBob = twoTwisterds(t)
	require.NoError(t, w.atAlice.Follow(alice, alice, bob))
	require.NoError(t, w.atBob.Follow(bob, bob, alice))
	w.atAlice.Save()
	w.atBob.Save()
	w.alice, w.bob = testConfig(t, w.atAlice, alice, bob), testConfig(t, w.atBob, bob, alice)
	return w
}

func feedOf(t testing.TB, n *Transport) <-chan *message.Message {
	t.Helper()
	feed, err := n.Subscribe(t.Context(), transports.Feed)
	require.NoError(t, err)
	return feed
}

// reads returns when the feed reads from then on.
func reads(t testing.TB, n *Transport, peer string) {
	t.Helper()
	eventually(t, peer+" is read", func() bool {
		n.feed.mu.Lock()
		defer n.feed.mu.Unlock()
		return n.feed.kept[peer].Began
	})
}

func tellAll(t testing.TB, n *Transport, messages ...*message.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, m := range messages {
		m.SetContext(ctx)
	}
	require.NoError(t, n.Publish(transports.Broadcast, messages...))
}

func numberedFrame(i int) *message.Message {
	return message.NewMessage(fmt.Sprintf("frame-%d", i), fmt.Appendf(nil, "frame %d", i))
}

func next(t testing.TB, feed <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-feed:
		require.True(t, ok, "closed")
		return m
	case <-time.After(30 * time.Second):
		require.FailNow(t, "nothing comes")
	}
	return nil
}

func comes(t testing.TB, feed <-chan *message.Message, payloads ...string) {
	t.Helper()
	for _, want := range payloads {
		m := next(t, feed)
		require.Equal(t, want, string(m.Payload))
		require.Equal(t, alice, m.Metadata.Get(transports.MetaFrom))
		m.Ack()
	}
}

func postText(t testing.TB, at *twistertest.Daemon, user string, k int, text string) {
	t.Helper()
	_, err := newClient(t, at).PublicPost(t.Context(), user, k, text)
	require.NoError(t, err)
}

func TestBroadcastFramesComeInOrderEachOnceAlsoAfterAbsence(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	tellAll(t, a, numberedFrame(1), numberedFrame(2))
	comes(t, feed, "frame 1", "frame 2")
	require.NoError(t, b.Close())
	tellAll(t, a, numberedFrame(3))
	w.atBob.Stop()
	require.NoError(t, w.atBob.Start())
	require.NoError(t, w.atAlice.Restart())
	tellAll(t, a, numberedFrame(4))
	require.NoError(t, a.Close())
	a, _ = open(t, w.alice)
	tellAll(t, a, numberedFrame(5))
	b, _ = open(t, w.bob)
	feed = feedOf(t, b)
	comes(t, feed, "frame 3", "frame 4", "frame 5")
	tellAll(t, a, numberedFrame(6))
	comes(t, feed, "frame 6")
	require.EqualValues(t, 4*len("frame 1"), b.Report().BytesIn)
}

func TestRefusedAndUnacknowledgedFramesComeAgain(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	tellAll(t, a, numberedFrame(1), numberedFrame(2))
	first := next(t, feed)
	first.Nack()
	again := next(t, feed)
	require.Equal(t, "frame 1", string(again.Payload))
	require.Equal(t, first.UUID, again.UUID)
	require.NoError(t, b.Close())
	<-again.Context().Done()
	b, _ = open(t, w.bob)
	comes(t, feedOf(t, b), "frame 1", "frame 2")
}

// What was posted before a peer is followed is history, also where the daemon fetches it only then.
func TestFirstFollowBeginsWithWhatComesThen(t *testing.T) {
	for _, fetched := range []bool{true, false} {
		var past atomic.Int64 // seconds
		past.Store(3600)
		n := newNetwork(t, twistertest.Options{Now: func() time.Time { return time.Now().Add(-time.Duration(past.Load()) * time.Second) }})
		atAlice, atBob := newTwisterd(t, n, "a"), newTwisterd(t, n, "b")
		require.NoError(t, atAlice.Register(alice))
		require.NoError(t, atBob.Register(bob))
		n.Mine(100)
		require.NoError(t, atAlice.Follow(alice, alice))
		require.NoError(t, atBob.Follow(bob, bob, alice))
		postText(t, atAlice, alice, 0, "history/0: x [mqtt]")
		if !fetched {
			n.Partition(atAlice, atBob)
		}
		postText(t, atAlice, alice, 1, "history/1: x [mqtt]")
		b, _ := open(t, testConfig(t, atBob, bob, alice))
		b.feed.pace.first = time.Hour
		feed := feedOf(t, b)
		reads(t, b, alice)
		n.Heal(atAlice, atBob)
		past.Store(0)
		postText(t, atAlice, alice, 2, "news: x [mqtt]")
		require.Equal(t, "news", next(t, feed).Metadata.Get(transports.MetaTopic))
	}
}

func TestFrameOfManyPostsIsPutTogether(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	large := bytes.Repeat([]byte("0123456\xff\x00\x80"), 2000)
	tellAll(t, a, message.NewMessage("large", large), numberedFrame(1))
	m := next(t, feed)
	require.True(t, bytes.Equal(large, m.Payload))
	require.Equal(t, "large", m.UUID)
	m.Ack()
	comes(t, feed, "frame 1")
	err := a.Publish(transports.Broadcast, message.NewMessage("larger", make([]byte, MaxPayload+1)))
	require.True(t, transports.IsPermanent(err), "%v", err)
}

func TestBroadcastIsPublishedOnceAnotherDaemonHasIt(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	eventually(t, "alice is up", func() bool { return a.Report().State == transports.Up })
	w.Partition(w.atAlice, w.atBob)
	published := make(chan error, 1)
	go func() { published <- a.Publish(transports.Broadcast, numberedFrame(1)) }()
	client := newClient(t, w.atAlice)
	eventually(t, "it is in the own torrent", func() bool {
		have, err := client.LastHave(t.Context(), alice, alice)
		return err == nil && have[alice] == 0
	})
	select {
	case err := <-published:
		t.Fatalf("published while nobody else has it: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	w.Heal(w.atAlice, w.atBob)
	require.NoError(t, <-published)
	require.EqualValues(t, len("frame 1"), a.Report().BytesOut)
}

func TestBroadcastThatNobodyWaitsForIsPublishedAtOnce(t *testing.T) {
	_, atAlice, _ := twoTwisterds(t)
	a, _ := open(t, testConfig(t, atAlice, alice, bob))
	tellAll(t, a, numberedFrame(1))
}

// The only follower is away, also when this node has been restarted.
func TestBroadcastToWhoIsAwayIsPublishedOnceItIsOnDisk(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	tellAll(t, a, numberedFrame(1))
	require.NoError(t, a.Close())
	w.atBob.Stop()
	a, _ = open(t, w.alice)
	eventually(t, "alice is without peers", func() bool { return a.Report().State == transports.Stalled })
	require.False(t, a.daemon.isAlone())
	a.feed.pace.saved = 20 * time.Millisecond
	tellAll(t, a, numberedFrame(2))
}

func TestBroadcastInOneBoxNeedsNoOther(t *testing.T) {
	n := newNetwork(t, twistertest.Options{})
	at := newTwisterd(t, n, "a")
	require.NoError(t, at.Register(alice))
	require.NoError(t, at.Register(bob))
	n.Mine(100)
	a, _ := open(t, testConfig(t, at, alice, bob))
	b, _ := open(t, testConfig(t, at, bob, alice))
	feed := feedOf(t, b)
	eventually(t, "alice has a torrent", func() bool { return a.Report().State == transports.Up })
	published := make(chan error, 1)
	go func() { published <- a.Publish(transports.Broadcast, numberedFrame(1)) }()
	comes(t, feed, "frame 1")
	require.NoError(t, <-published)
}

// The daemon is killed before anybody else has the post, and before it has saved it.
func TestBroadcastThatTheDaemonLosesIsPostedAgain(t *testing.T) {
	w := newFeedWorld(t)
	a, log := open(t, w.alice)
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	w.Partition(w.atAlice, w.atBob)
	published := make(chan error, 1)
	go func() { published <- a.Publish(transports.Broadcast, numberedFrame(1)) }()
	client := newClient(t, w.atAlice)
	eventually(t, "the daemon has taken it", func() bool {
		have, err := client.LastHave(t.Context(), alice, alice)
		return err == nil && have[alice] == 0
	})
	w.atAlice.Kill()
	require.NoError(t, w.atAlice.Start())
	eventually(t, "it is posted again", func() bool { return log.count("posting it again") > 0 })
	w.Heal(w.atAlice, w.atBob)
	comes(t, feed, "frame 1")
	require.NoError(t, <-published)
	tellAll(t, a, numberedFrame(2))
	comes(t, feed, "frame 2")
}

func TestPostOnItsWayIsWaitedForSoThatOrderIsKept(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	b.feed.pace.gap = time.Hour
	feed := feedOf(t, b)
	postText(t, w.atAlice, alice, 0, "talk")
	reads(t, b, alice)
	w.SetLoss(1, false)
	postText(t, w.atAlice, alice, 1, `{"topic": "a", "payload": "MQ==", "qos": 0}`)
	w.SetLoss(0, false)
	postText(t, w.atAlice, alice, 2, `{"topic": "a", "payload": "Mg==", "qos": 0}`)
	w.Heal(w.atAlice, w.atBob)
	comes(t, feed, "1", "2")
}

func TestPostThatNeverComesIsPassedAndCounted(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	b.feed.pace.stuck = b.feed.pace.gap
	feed := feedOf(t, b)
	reads(t, b, alice)
	w.SetLoss(1, true)
	postText(t, w.atAlice, alice, 3, `{"topic": "a", "payload": "MQ==", "qos": 0}`)
	w.SetLoss(0, false)
	postText(t, w.atAlice, alice, 4, `{"topic": "a", "payload": "Mg==", "qos": 0}`)
	comes(t, feed, "2")
	require.EqualValues(t, 1, b.Report().Dropped[dropNoPost])
}

// The k between two public posts went to a direct message.
func TestDirectMessagesAreNoGap(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	b.feed.pace.gap = time.Hour
	feed := feedOf(t, b)
	reads(t, b, alice)
	client := newClient(t, w.atAlice)
	for k := range 20 {
		if k%5 == 4 {
			postText(t, w.atAlice, alice, k, fmt.Sprintf(`{"topic": "a", "payload": "%c%c==", "qos": 0}`, 'A'+k, 'A'))
			continue
		}
		_, err := client.DirectMessage(t.Context(), alice, k, bob, fmt.Sprint("message ", k))
		require.NoError(t, err)
	}
	for range 4 {
		next(t, feed).Ack()
	}
}

func TestReadableMessagesArePostedAsPeopleReadThem(t *testing.T) {
	w := newFeedWorld(t)
	w.alice.Readable = true
	a, _ := open(t, w.alice)
	b, _ := open(t, w.bob)
	require.True(t, a.Bare(transports.Broadcast))
	require.False(t, a.Bare(transports.Direct(bob)))
	feed := feedOf(t, b)
	reads(t, b, alice)
	send := []mqttMessage{
		{topic: "doors/1", payload: []byte("empty")},
		{topic: "fridges/2/temperature", payload: []byte("4.5 °C"), qos: 1, retain: true},
		{topic: "binary", payload: []byte{0, 1, 0xff}, qos: 2},
	}
	for i, b := range send {
		m := b.message("", i)
		m.UUID = fmt.Sprint(i)
		tellAll(t, a, m)
		got := next(t, feed)
		require.Equal(t, b.topic, got.Metadata.Get(transports.MetaTopic))
		require.Equal(t, b.payload, []byte(got.Payload))
		require.Equal(t, fmt.Sprint(b.qos), got.Metadata.Get(transports.MetaQoS))
		require.Equal(t, b.retain, got.Metadata.Get(transports.MetaRetain) == "1")
		require.Equal(t, alice, got.Metadata.Get(transports.MetaFrom))
		got.Ack()
	}
	posts, err := newClient(t, w.atBob).Posts(t.Context(), 10, rpc.PlainPosts, 0, rpc.Range{User: alice})
	require.NoError(t, err)
	texts := map[string]bool{}
	for _, p := range posts {
		texts[p.Text] = true
	}
	require.True(t, texts["doors/1: empty [mqtt]"], "%v", texts)
	require.True(t, texts["fridges/2/temperature: 4.5 °C [mqtt q1 retained]"], "%v", texts)
	err = a.Publish(transports.Broadcast, message.NewMessage("x", []byte("no topic")))
	require.True(t, transports.IsPermanent(err), "%v", err)
}

func TestMessageComesBackTheSameHoweverOdd(t *testing.T) {
	for _, tt := range []struct {
		topic, payload string
		readable       bool
	}{
		{"doors/1", "", true},
		{"doors/1", "a: b [mqtt]", true},
		{"doors/1", " [mqtt q2 retained]", true},
		{"doors/1", "two\nlines\tand more ", true},
		{"doors: 1", "x", false},
		{"doors:", "x", true},
		{"doors/1: x [mqtt]", "y", false},
		{"w1:", "x", false},
		{`{"topic"`, "x", true},
		{"ünïcode/漢", "🐦", true},
		{"a", "\x00", false},
		{"a", "\xff", false},
		{"a", "\u0085", false},
		{"a", strings.Repeat("x", 1900), false},
		{" ", " ", true},
	} {
		for qos := range byte(3) {
			b := mqttMessage{topic: tt.topic, payload: []byte(tt.payload), qos: qos, retain: qos == 1}
			text, ok := b.readable()
			require.Equal(t, tt.readable, ok, "%q: %q", tt.topic, text)
			if ok {
				back, ok := parsePost(text)
				require.True(t, ok)
				require.Equal(t, fmt.Sprint(b), fmt.Sprint(back))
			}
			back, err := unpackMessage(b.pack())
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(b), fmt.Sprint(back))
		}
	}
}

func TestTalkIsNoMessage(t *testing.T) {
	for _, text := range []string{
		"", "hello", "doors/1: empty", "doors/+: x [mqtt]", "x [mqtt]", "a: b [mqtt q3]", "a: b [mqtt q0]", "a: b [mqtt] ", ": x [mqtt]",
		`{"topic": "a"}`, `{"topic": "a", "payload": 5}`, `{"topic": "a", "payload": "?", "qos": 0}`, `{"topic": "+", "payload": "", "qos": 0}`,
		`{"topic": "a", "payload": "", "qos": 3}`, `{"topic": "a", "payload": "", "qos": -1}`, `["topic"]`, `"topic"`, "null", "{", "w1:",
	} {
		_, ok := parsePost(text)
		require.False(t, ok, text)
	}
}

// Posts that nobody signed, that carry another user's, and that are not of the peer at all.
func TestPromotedRetwistedAndOthersPostsAreLeftOut(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	r := b.feed.follow(alice, time.Now())
	const text = `{"topic": "a", "payload": "", "qos": 0}`
	for _, p := range []rpc.Post{
		{Sig: "20", Name: alice, K: 1, Text: text, Foreign: true},
		{Sig: "20", Name: alice, K: 2, Direct: true},
		{Sig: "20", Name: alice, K: 3, Text: "talk"},
	} {
		require.True(t, r.read(t.Context(), p, nil), "nothing is delivered, which would block")
		require.Equal(t, p.K, r.k)
	}
	postText(t, w.atAlice, alice, 0, text) // and with the first that is read the daemon answers a promoted one
	m := next(t, feed)
	require.Equal(t, alice+"-0", m.UUID)
	m.Ack()
}

// Whatever a peer posts as parts: nothing of it grows without bound or comes out wrong.
func TestOddPartsAreCountedAndForgotten(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	f := b.feed
	id, other := frameID("a"), frameID("b")
	first := func(id [8]byte) *part { return &part{id: id, data: []byte("first ")} }
	last := func(id [8]byte, index int) *part {
		return &part{id: id, index: index, last: true, data: []byte("last")}
	}
	for _, tt := range []struct {
		name  string
		parts []*part
		want  int
		why   string
	}{
		{"whole", []*part{first(id), last(id, 1)}, 1, ""},
		{"twice", []*part{first(id), first(id), last(id, 1), last(id, 1)}, 1, dropPart},
		{"posted again", []*part{first(id), last(id, 1), first(id), last(id, 1)}, 1, ""},
		{"without a beginning", []*part{last(id, 1)}, 0, dropPart},
		{"with a hole", []*part{first(id), last(id, 2)}, 0, dropPart},
		{"given up", []*part{first(other), first(id), last(id, 1)}, 1, dropNoWhole},
		{"another's end", []*part{first(other), last(id, 1)}, 0, dropNoWhole},
		{"a message that is none", []*part{{id: id, last: true, bare: true, data: []byte{9}}}, 0, dropPart},
	} {
		r := f.follow("carol", time.Now())
		r.at = feedPosition{Began: true, K: -1}
		f.status.lost = map[string]uint64{}
		out := make(chan *message.Message, 8)
		ctx, cancel := context.WithCancel(t.Context())
		acks := make(chan int)
		go func() {
			n := 0
			for m := range out {
				m.Ack()
				n++
			}
			acks <- n
		}()
		for k, p := range tt.parts {
			require.True(t, r.read(ctx, rpc.Post{Sig: "20", Name: "carol", K: k, Text: p.text()}, out))
			require.Equal(t, k, r.k)
		}
		cancel()
		close(out)
		require.Equal(t, tt.want, <-acks, tt.name)
		require.Equal(t, tt.why != "", b.Report().Dropped[tt.why] == 1, "%s: %v", tt.name, b.Report().Dropped)
	}
}

func TestEndlessFrameIsForgotten(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	r := b.feed.follow("carol", time.Now())
	r.at = feedPosition{Began: true, K: -1}
	id, data := frameID("a"), make([]byte, 1500)
	for k := range MaxPayload/len(data) + 1 {
		text := (&part{id: id, index: k, data: data}).text()
		require.True(t, r.read(t.Context(), rpc.Post{Sig: "20", Name: "carol", K: k, Text: text}, nil))
		require.LessOrEqual(t, len(r.parts.data), MaxPayload)
	}
	require.EqualValues(t, 1, b.Report().Dropped[dropPart])
	require.Empty(t, r.parts.data)
}

// A message that came between the parts of a frame does not come again after a restart.
func TestPositionBehindAFrameThatIsNotWholeKnowsWhatCameSince(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	require.NoError(t, a.Close())
	b, _ := open(t, w.bob)
	feed := feedOf(t, b)
	reads(t, b, alice)
	texts := split(bytes.Repeat([]byte("x"), 3000), false, "large")
	require.Len(t, texts, 2)
	postText(t, w.atAlice, alice, 0, texts[0])
	postText(t, w.atAlice, alice, 1, "doors/1: empty [mqtt]")
	comes(t, feed, "empty")
	require.NoError(t, b.Close())
	postText(t, w.atAlice, alice, 2, texts[1])
	postText(t, w.atAlice, alice, 3, "doors/1: full [mqtt]")
	b, _ = open(t, w.bob)
	comes(t, feedOf(t, b), strings.Repeat("x", 3000), "full")
}

func randomBytes(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 1))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.IntN(256))
	}
	return data
}

func FuzzPartsCarryAnyBytes(f *testing.F) {
	f.Add([]byte(nil), false)
	f.Add([]byte("#@#@ £§ "), true)
	f.Add(randomBytes(5000), false)
	f.Add(bytes.Repeat([]byte{0x46, 0x8d, 0x1a, 0x34}, 2000), true) // many marks
	f.Fuzz(func(t *testing.T, data []byte, bare bool) {
		id := frameID("x")
		var got []byte
		texts := split(data, bare, "x")
		for i, text := range texts {
			require.LessOrEqual(t, len(text), maxPostText)
			require.NotContains(t, text, "#")
			require.NotContains(t, text, "@")
			p, err := parsePart(text)
			require.NoError(t, err)
			require.Equal(t, part{last: i == len(texts)-1, bare: bare, id: id, index: i, uuid: p.uuid, data: p.data}, *p)
			got = append(got, p.data...)
		}
		require.True(t, bytes.Equal(data, got))
	})
}

func FuzzOnlyPartsAreParsed(f *testing.F) {
	f.Add((&part{last: true, data: []byte("x")}).text())
	f.Add("w1:")
	f.Add("w1:#@")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parsePart(text); err == nil {
			require.Equal(t, text, p.text())
		}
	})
}

func FuzzPostsAreParsedToWhatTheySay(f *testing.F) {
	f.Add("doors/1: empty [mqtt q1 retained]")
	f.Add(`{"topic": "doors/1", "payload": "ZW1wdHk=", "qos": 0}`)
	f.Fuzz(func(t *testing.T, text string) {
		b, ok := parsePost(text)
		if !ok {
			return
		}
		require.True(t, validTopic(b.topic))
		require.LessOrEqual(t, b.qos, byte(2))
		if again, ok := b.readable(); ok {
			back, ok := parsePost(again)
			require.True(t, ok)
			require.Equal(t, fmt.Sprint(b), fmt.Sprint(back))
		}
		back, ok := parsePost(b.seedText(5))
		require.True(t, ok)
		require.Equal(t, fmt.Sprint(b), fmt.Sprint(back))
	})
}

// How much of a public post is frame? (the cost of hiding # and @ included)
func TestPublicPostsAreFilled(t *testing.T) {
	random := randomBytes(100_000)
	texts := split(random, false, "x")
	require.Greater(t, float64(len(random))/float64(len(texts)*maxPostText), 0.84)
}

// Daemons are killed, restarted and cut off at random while frames are broadcast. Is each delivered once, and in order?
func TestBroadcastSurvivesKillsAndRestarts(t *testing.T) {
	w := newFeedWorld(t)
	a, _ := open(t, w.alice)
	b, _ := open(t, w.bob)
	b.feed.pace.gap = 10 * time.Millisecond // no session lasts for long
	feed := feedOf(t, b)
	reads(t, b, alice)
	const count = 60
	published := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < count && err == nil; i++ {
			err = a.Publish(transports.Broadcast, numberedFrame(i))
		}
		published <- err
	}()
	stop := spawn(t, func(ctx context.Context) {
		rng := rand.New(rand.NewPCG(1, 1))
		for ctx.Err() == nil {
			at := []*twistertest.Daemon{w.atAlice, w.atBob}[rng.IntN(2)]
			switch rng.IntN(4) {
			case 0:
				at.Kill()
				pause(ctx, 10*time.Millisecond)
				_ = at.Start()
			case 1:
				_ = at.Restart()
			case 2:
				w.Partition(w.atAlice, w.atBob)
				pause(ctx, 20*time.Millisecond)
				w.Heal(w.atAlice, w.atBob)
			case 3:
				at.Save()
			}
			pause(ctx, time.Duration(rng.IntN(60))*time.Millisecond)
		}
	})
	for i := range count {
		comes(t, feed, fmt.Sprint("frame ", i))
	}
	require.NoError(t, <-published)
	stop()
	require.Empty(t, b.Report().Dropped)
}

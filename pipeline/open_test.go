package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

var quiet = slog.New(slog.DiscardHandler)

// site is a node with a broker of its own, as a user of the sky.
type site struct {
	t      *testing.T
	sky    *sky
	cfg    pipeline.Config
	set    func(*bird) // how the user goes about
	broker *mqtt.Broker
	client *mqtt.Session
	got    arrivals

	bird    *bird
	session *mqtt.Session
	store   *lanes.Store
	node    *pipeline.Node
	killed  *atomic.Bool // of this node: what its parts say when they have been cut off is expected
}

// arrivals is what a site's client has received.
type arrivals struct {
	mu   sync.Mutex
	seen []arrival
}

type arrival struct{ topic, payload, qos, retain string }

func (a *arrivals) all() []arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.seen)
}

// on returns the payloads that came on the topic.
func (a *arrivals) on(topic string) (payloads []string) {
	for _, m := range a.all() {
		if m.topic == topic {
			payloads = append(payloads, m.payload)
		}
	}
	return payloads
}

// newSite starts a broker, a client of it, and a node without keys, whose user is mqtt_NAME, with a peer of the other name.
func newSite(t *testing.T, s *sky, name, other string, cfg pipeline.Config, set func(*bird)) *site {
	t.Helper()
	cfg.Node, cfg.DataDir = name, t.TempDir()
	cfg.Peers = append(cfg.Peers, pipeline.Peer{Name: other, At: map[string]string{"bird": "mqtt_" + other}})
	for i := range cfg.Routes {
		r := &cfg.Routes[i]
		r.Name, r.To, r.Mode, r.Batch = fmt.Sprint("r", i), "bird", pipeline.Direct, pipeline.Batch{Count: 50, Bytes: 64 << 10}
	}
	x := &site{t: t, sky: s, cfg: cfg, set: set}
	var err error
	if x.broker, err = mqtt.NewBroker(mqtt.BrokerConfig{Listen: "127.0.0.1:0"}, quiet); err != nil {
		t.Fatal(err)
	}
	if err := x.broker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.broker.Close() })
	if x.client, err = mqtt.New(mqtt.Config{URL: x.broker.URL(), ClientID: "client", Window: 100}, nil, nil, quiet); err != nil {
		t.Fatal(err)
	}
	incoming, err := x.client.SubscribeAll(context.Background(), map[string]byte{"#": 2, "$weft/#": 2})
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the client
		for m := range incoming {
			x.got.mu.Lock()
			x.got.seen = append(x.got.seen, arrival{
				m.Metadata[transports.MetaTopic], string(m.Payload), m.Metadata[transports.MetaQoS], m.Metadata[transports.MetaRetain],
			})
			x.got.mu.Unlock()
			m.Ack()
		}
	}()
	if err := x.client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.client.Close() })
	x.start()
	t.Cleanup(func() {
		if x.node != nil {
			x.stop()
		}
	})
	return x
}

func (x *site) start() {
	x.t.Helper()
	id, err := identity.Load(x.cfg.DataDir)
	if err != nil {
		x.t.Fatal(err)
	}
	if x.store, err = lanes.Open(x.cfg.DataDir, lanes.Options{}, quiet); err != nil {
		x.t.Fatal(err)
	}
	x.session, err = mqtt.New(mqtt.Config{URL: x.broker.URL(), ClientID: "weft", Window: 100, ReconnectMin: 20 * time.Millisecond}, x.store, nil, quiet)
	if err != nil {
		x.t.Fatal(err)
	}
	x.bird = x.sky.bird("mqtt_"+x.cfg.Node, "mqtt_"+x.cfg.Peers[0].Name)
	if x.set != nil {
		x.set(x.bird)
	}
	x.node, err = pipeline.New(x.cfg, id, x.store, x.session, pipeline.Transports{"bird": x.bird}, stage.Steps{}, quiet)
	if err != nil {
		x.t.Fatal(err)
	}
	killed := new(atomic.Bool)
	x.killed = killed
	died := func(err error) {
		if !killed.Load() {
			x.t.Errorf("%s died: %v", x.cfg.Node, err)
		}
	}
	if err := x.node.Start(x.t.Context(), died); err != nil {
		x.t.Fatal(err)
	}
	await(x.t, "the broker is up and knows what the routes match", func() bool {
		return x.node.Status().Broker.State == transports.Up && len(x.store.Subscriptions()) == len(x.cfg.Routes)
	})
}

// stop ends the node in good order.
func (x *site) stop() {
	x.t.Helper()
	if err := x.node.Stop(context.Background()); err != nil {
		x.t.Error(err)
	}
	if err := x.store.Close(); err != nil {
		x.t.Error(err)
	}
	x.node = nil
}

// kill leaves of the node what its disk holds at a moment when it is cut off from everything: all that it has not written down by
// then is lost, as to kill -9.
func (x *site) kill() {
	x.t.Helper()
	x.killed.Store(true)
	_ = x.session.Close()
	_ = x.bird.Close()
	var image string
	for tries := 0; ; tries++ {
		image = x.t.TempDir()
		err := os.CopyFS(image, os.DirFS(x.cfg.DataDir))
		if err == nil {
			break
		}
		if tries == 10 || !errors.Is(err, fs.ErrNotExist) { // a file may be removed meanwhile
			x.t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(image, "identity.key"), 0o600); err != nil { // CopyFS makes files that others may read
		x.t.Fatal(err)
	}
	_ = x.node.Stop(context.Background()) // it is dead, and closes again what was closed
	_ = x.store.Close()
	x.cfg.DataDir, x.node = image, nil
}

func (x *site) publish(topic, payload string, qos byte) {
	m := message.NewMessage("", []byte(payload))
	m.Metadata[transports.MetaQoS] = fmt.Sprint(qos)
	if err := x.client.Publish(topic, m); err != nil && x.t.Context().Err() == nil {
		x.t.Error(err)
	}
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: ", what)
		}
	}
}

func (x *site) awaitPeer(filters ...string) {
	x.t.Helper()
	await(x.t, fmt.Sprint(x.cfg.Node, " knows that its peer wants ", filters), func() bool {
		p := x.node.Status().Peers[0]
		return p.Known && p.ListsUs && p.Open && slices.Equal(p.Filters, filters)
	})
}

func doors(qos byte) []pipeline.Route {
	return []pipeline.Route{{Match: []string{"doors/#"}, QoS: qos, Priority: 5}}
}

// Two nodes that list each other by user names alone exchange messages while one or the other is killed. Does each message at QoS 2
// arrive once, each at QoS 1 at least once, and all of a topic in order?
func TestNodesWithoutKeysExchangeInOrderThroughKills(t *testing.T) {
	for name, confirms := range map[string]bool{"network that stores": false, "network that waits for the recipient": true} {
		t.Run(name, func(t *testing.T) {
			s := newSky()
			set := func(b *bird) { b.confirms = confirms }
			alice := newSite(t, s, "alice", "bob", pipeline.Config{
				Routes:    doors(2),
				Subscribe: []pipeline.Subscription{{Filter: "lamps/#", MaxQoS: 2}},
			}, set)
			bob := newSite(t, s, "bob", "alice", pipeline.Config{
				Routes:    []pipeline.Route{{Match: []string{"lamps/#"}, QoS: 2}},
				Subscribe: []pipeline.Subscription{{Filter: "doors/#", MaxQoS: 2}},
			}, set)
			alice.awaitPeer("doors/#")
			bob.awaitPeer("lamps/#")
			const count = 600
			var publishing sync.WaitGroup
			for qos := range byte(3) {
				publishing.Go(func() {
					for i := range count {
						alice.publish(fmt.Sprint("doors/", qos), fmt.Sprintf("%04d", i), qos)
						if i%10 == 0 {
							bob.publish(fmt.Sprint("lamps/", qos), fmt.Sprintf("%04d", i/10), qos)
						}
					}
				})
			}
			for i, x := range []*site{bob, alice, bob} {
				await(t, "messages arrive", func() bool { return len(bob.got.on("doors/2")) >= (i+1)*count/5 })
				x.kill()
				x.start()
			}
			publishing.Wait()
			await(t, "all is there", func() bool {
				return slices.Contains(bob.got.on("doors/1"), fmt.Sprintf("%04d", count-1)) && slices.Contains(bob.got.on("doors/2"), fmt.Sprintf("%04d", count-1)) &&
					slices.Contains(alice.got.on("lamps/1"), fmt.Sprintf("%04d", count/10-1)) && slices.Contains(alice.got.on("lamps/2"), fmt.Sprintf("%04d", count/10-1))
			})
			alice.complete("lamps/", count/10)
			bob.complete("doors/", count)
		})
	}
}

// complete checks that the messages of the three topics have come as their QoS promises.
func (x *site) complete(prefix string, count int) {
	x.t.Helper()
	for qos := range 3 {
		got := x.got.on(fmt.Sprint(prefix, qos))
		first := []string{} // in the order of their first arrival
		for _, p := range got {
			if !slices.Contains(first, p) {
				first = append(first, p)
			}
		}
		if !slices.IsSorted(first) {
			x.t.Errorf("QoS %d: out of order", qos)
		}
		if qos > 0 && len(first) != count {
			x.t.Errorf("QoS %d: %d of %d messages", qos, len(first), count)
		}
		if qos != 1 && len(got) != len(first) {
			x.t.Errorf("QoS %d: %d messages doubled", qos, len(got)-len(first))
		}
	}
}

func TestChangedWishesTakeEffectAndStrangersAreNotListenedTo(t *testing.T) {
	s := newSky()
	alice := newSite(t, s, "alice", "bob", pipeline.Config{
		Routes:    doors(1),
		Subscribe: []pipeline.Subscription{{Filter: "x/#"}, {Filter: "y", From: []string{"bob"}}, {Filter: "x/#", From: []string{"bob"}}},
	}, nil)
	await(t, "alice shows what she wants", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Equal(s.shown["mqtt_alice"], []string{"x/#", "y"})
	})
	s.show("mqtt_eve", []string{"#"})
	alice.publish("doors/1", "kept", 1) // nobody knows yet what bob wants
	s.show("mqtt_bob", []string{"doors/1", "a#"})
	alice.awaitPeer("doors/1")
	if p := alice.node.Status().Peers[0]; !strings.Contains(p.Problem, "1 of 2 filters are refused") || p.Key != "" {
		t.Errorf("status %+v", p)
	}
	await(t, "what was kept is sent", func() bool { return len(s.letters("direct/mqtt_bob")) == 1 })
	s.show("mqtt_bob", []string{"doors/2"})
	alice.awaitPeer("doors/2")
	alice.publish("doors/1", "unwanted", 1)
	alice.publish("doors/2", "wanted", 1)
	await(t, "what is wanted now is sent", func() bool { return len(s.letters("direct/mqtt_bob")) == 2 })
	if got := len(s.letters("direct/mqtt_eve")); got > 0 {
		t.Errorf("%d frames went to a stranger", got)
	}
	l := alice.node.Status().Lanes[0]
	if l.Delivered != 2 || l.Priority != 5 {
		t.Errorf("the lane counts %+v", l)
	}
	for _, sent := range s.letters("direct/mqtt_bob") {
		if sent.meta[transports.MetaPriority] != "5" {
			t.Errorf("metadata %v", sent.meta)
		}
	}
	alice.stop()
	alice.start() // what bob wants is known from before, and waits for the directory no more
	alice.awaitPeer("doors/2")
}

// A peer that understands single messages alone, and one that sends them.
func TestSingleMessagesGoBothWays(t *testing.T) {
	s := newSky()
	alice := newSite(t, s, "alice", "bob", pipeline.Config{
		Routes:    doors(2),
		Subscribe: []pipeline.Subscription{{Filter: "lamps/#", AddPrefix: "bob/", MaxQoS: 2}},
	}, func(b *bird) { b.bare[transports.Direct("mqtt_bob")] = true })
	s.show("mqtt_bob", []string{"doors/#"})
	alice.awaitPeer("doors/#")
	bridge, stranger := s.bird("mqtt_bob"), s.bird("eve")
	for i := range 10 {
		alice.publish(fmt.Sprint("doors/", i), fmt.Sprint(i), byte(i%3))
		for _, b := range []*bird{bridge, stranger} {
			m := message.NewMessage(fmt.Sprint(i), []byte(b.user))
			m.Metadata = message.Metadata{transports.MetaTopic: fmt.Sprint("lamps/", i), transports.MetaQoS: fmt.Sprint(i % 3)}
			if err := b.Publish(transports.Direct("mqtt_alice"), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	await(t, "all is there", func() bool {
		return len(s.letters("direct/mqtt_bob")) == 10 && len(alice.got.on("bob/lamps/9")) == 1
	})
	for i, l := range s.letters("direct/mqtt_bob") {
		if l.meta[transports.MetaTopic] != fmt.Sprint("doors/", i) || string(l.payload) != fmt.Sprint(i) || l.meta[transports.MetaQoS] != fmt.Sprint(min(i%3, 1)) {
			t.Errorf("single message %d is %v %q", i, l.meta, l.payload)
		}
	}
	got := slices.DeleteFunc(alice.got.all(), func(a arrival) bool { return !strings.HasPrefix(a.topic, "bob/") })
	for i, a := range got {
		if want := (arrival{fmt.Sprint("bob/lamps/", i), "mqtt_bob", fmt.Sprint(min(i%3, 1)), a.retain}); a != want {
			t.Errorf("came %+v, want %+v", a, want)
		}
	}
	if st := alice.node.Status(); len(got) != 10 || st.Incoming.Refused["not_a_peer"] == 0 || st.Lanes[0].Depth != 0 {
		t.Errorf("%d messages came, status %+v", len(got), st)
	}
}

// The recipient is away. Is the frame on its way until it comes, can the node be stopped meanwhile, and does the frame arrive once?
func TestFrameIsOnItsWayUntilTheRecipientHasConfirmedIt(t *testing.T) {
	s := newSky()
	alice := newSite(t, s, "alice", "bob", pipeline.Config{Routes: doors(2)}, func(b *bird) { b.confirms = true })
	s.show("mqtt_bob", []string{"doors/#"})
	alice.awaitPeer("doors/#")
	alice.publish("doors/1", "1", 1)
	await(t, "a frame is on its way", func() bool { return !alice.node.Status().Lanes[0].OnItsWay.IsZero() })
	if l := alice.node.Status().Lanes[0]; l.State != "moving" || l.Depth != 1 {
		t.Errorf("the lane is %+v", l)
	}
	began := time.Now()
	alice.stop()
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("stopping took %v", took)
	}
	bob := newSite(t, s, "bob", "alice", pipeline.Config{Subscribe: []pipeline.Subscription{{Filter: "doors/#", MaxQoS: 2}}}, nil)
	alice.start()
	await(t, "it arrives", func() bool { return len(bob.got.on("doors/1")) > 0 })
	await(t, "the lane is empty", func() bool { return alice.node.Status().Lanes[0].Depth == 0 })
	if got := bob.got.on("doors/1"); len(got) != 1 {
		t.Errorf("it arrived %d times", len(got))
	}
}

// A broadcast is signed for those who know the key; who does not believes the network.
func TestBroadcastIsTakenFromAPeerWithoutAKey(t *testing.T) {
	s := newSky()
	bob := newSite(t, s, "bob", "alice", pipeline.Config{Subscribe: []pipeline.Subscription{{Filter: "doors/#", MaxQoS: 2}}}, nil)
	routes := doors(1)
	alice := newSite(t, s, "alice", "bob", pipeline.Config{Routes: routes}, nil)
	alice.stop()
	alice.cfg.Routes[0].Mode = pipeline.Broadcast
	alice.start()
	alice.publish("doors/1", "open", 1)
	await(t, "it arrives", func() bool { return len(bob.got.on("doors/1")) == 1 })
}

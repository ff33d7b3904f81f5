package pipeline

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/profile"
	"github.com/weft-relay/weft/transports"
)

// bob's profile is kept from before, when he wanted lamps; since then he may have changed his mind. Is what he wanted sent, and
// nothing dropped that he may want now, until the directory shows what he wants?
func TestAKeptProfileAddsWishesAndTakesNoneAway(t *testing.T) {
	for what, now := range map[string]struct {
		version uint64
		filter  string
		want    []string
		dropped uint64
	}{
		"the same":    {1, "lamps/#", []string{"lamps/1", "lamps/2"}, 1},
		"other ones":  {2, "doors/#", []string{"lamps/1", "doors/1"}, 1},
		"all of them": {2, "#", []string{"lamps/1", "doors/1", "lamps/2"}, 0},
	} {
		t.Run(what, func(t *testing.T) {
			dir, network := t.TempDir(), &wire{}
			if _, err := announce(t, testInterests(t, dir), 2, "bob", 1, "lamps/#"); err != nil {
				t.Fatal(err)
			}
			d, store := testDelivery(t, network, &wire{})
			d.route.interests = testInterests(t, dir) // after a restart
			queue(t, store, d.lane, "lamps/1", "doors/1", "lamps/2")
			frames := testFrames(t, d)
			for range 2 {
				msg := receive(t, frames)
				if err := d.handle(msg); !errors.Is(err, errUnseen) {
					t.Fatalf("error %v", err)
				}
				msg.Nack()
			}
			if s := d.lane.Stats(); s.Delivered != 1 || s.Depth != 2 || s.Dropped != nil {
				t.Fatalf("before the directory was seen the lane counts %+v", s)
			}
			if news, err := announce(t, d.route.interests, 2, "bob", now.version, now.filter); !news || err != nil {
				t.Fatal(news, err)
			}
			msg := receive(t, frames)
			if err := d.handle(msg); err != nil {
				t.Fatal(err)
			}
			msg.Ack()
			await(t, d.lane.Empty)
			if got := network.opened(t); !slices.Equal(got, now.want) {
				t.Errorf("sent %q, want %q", got, now.want)
			}
			if s := d.lane.Stats(); s.Dropped[reasonUnwanted] != now.dropped {
				t.Errorf("the lane counts %+v", s)
			}
		})
	}
}

// What a stale profile does not ask for is kept on its way in as well.
func TestWhatAKeptProfileDoesNotAskForIsKept(t *testing.T) {
	dir, store, peers := t.TempDir(), testStore(t), testPeers(t)
	if _, err := announce(t, testInterests(t, dir), 2, "bob", 1, "lamps/#"); err != nil {
		t.Fatal(err)
	}
	in := testInterests(t, dir) // after a restart
	routes := []*route{newRoute(Route{Name: "all", Match: []string{"#"}, To: "bird", Mode: Direct, QoS: 1}, store, peers[:1], in)}
	if got := dueIn(t, routes, peers[:1], "doors/1"); !slices.Equal(got, []string{"all/bob"}) {
		t.Errorf("before the directory was seen doors/1 is due in %v", got)
	}
	if _, err := announce(t, in, 2, "bob", 1, "lamps/#"); err != nil {
		t.Fatal(err)
	}
	if got := dueIn(t, routes, peers[:1], "doors/1"); len(got) != 0 {
		t.Errorf("bob does not want doors/1, which is due in %v", got)
	}
}

func dueIn(t *testing.T, routes []*route, peers []*peer, topic string) (names []string) {
	t.Helper()
	a, err := newAddressing(routes, peers)
	if err != nil {
		t.Fatal(err)
	}
	a.look()
	due, _ := a.due(nil, topic)
	for _, l := range due {
		names = append(names, l.Name())
	}
	return names
}

// Messages that count as dropped, delivered and undeliverable stand side by side: each is counted as what it was.
func TestAMessageThatIsBuriedCountsNoOtherOne(t *testing.T) {
	network := &wire{refuse: thick}
	d, store := testDelivery(t, network, &wire{})
	if _, err := announce(t, d.route.interests, 2, "bob", 2, "doors/#"); err != nil {
		t.Fatal(err)
	}
	var entries []lanes.Entry
	for i, topic := range []string{"lamps/1", "doors/1", "lamps/2", "lamps/3", "doors/large", "lamps/4", "doors/2"} {
		m := frame.Message{Topic: topic, QoS: 1, Time: time.Now()}
		if i == 4 {
			m.Payload = noise(3000)
		}
		entries = append(entries, lanes.Entry{Message: m, Lanes: []*lanes.Lane{d.lane}})
	}
	if err := store.Append(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	if err := d.handle(receive(t, testFrames(t, d))); err != nil {
		t.Fatal(err)
	}
	if got := network.opened(t); !slices.Equal(got, []string{"doors/1", "doors/2"}) {
		t.Errorf("sent %q", got)
	}
	if s := d.lane.Stats(); s.In != 7 || s.Delivered != 2 || s.Dropped[reasonUnwanted] != 4 || s.Dropped[reasonUndeliverable] != 1 {
		t.Errorf("the lane counts %+v", s)
	}
}

// twoNetworks are the networks hub and bird with a route each, hub's first, and bob as the only peer.
type twoNetworks struct {
	store       *lanes.Store
	peers       []*peer
	hub, bird   *route
	onHub, wire *wire // what hub and bird carry
	addresses   *addressing
	kept        *delivery // of the route over hub
}

func newTwoNetworks(t *testing.T, match ...string) *twoNetworks {
	t.Helper()
	n := &twoNetworks{store: testStore(t), peers: testPeers(t)[:1], onHub: &wire{}, wire: &wire{}}
	dir := t.TempDir()
	hub, err := newInterests("hub", false, dir, testIdentity(t, 1), n.peers, &bell{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	none := func() int { return 0 }
	n.hub = newRoute(Route{Name: "r1", Match: []string{"#"}, To: "hub", Mode: Direct, QoS: 1}, n.store, n.peers, hub)
	n.hub.transport, n.hub.limit = n.onHub, none
	n.bird = newRoute(Route{Name: "r2", Match: match, To: "bird", Mode: Direct, QoS: 1}, n.store, n.peers, testInterests(t, dir))
	n.bird.transport, n.bird.limit = n.wire, none
	if n.addresses, err = newAddressing([]*route{n.hub, n.bird}, n.peers); err != nil {
		t.Fatal(err)
	}
	n.kept = &delivery{
		node: "alice", id: testIdentity(t, 1), to: n.peers[0], route: n.hub, others: []*route{n.bird}, epoch: n.store.Epoch(),
		lane: n.hub.lanes[0], drained: t.Context(), log: slog.New(slog.DiscardHandler),
	}
	return n
}

// take takes a message in and returns the lane that it came to.
func (n *twoNetworks) take(t *testing.T, topics ...string) (names []string) {
	t.Helper()
	n.addresses.look()
	var entries []lanes.Entry
	for _, topic := range topics {
		due, _ := n.addresses.due(nil, topic)
		for _, l := range due {
			names = append(names, l.Name())
		}
		entries = append(entries, lanes.Entry{Message: frame.Message{Topic: topic, QoS: 1, Time: time.Now()}, Lanes: due})
	}
	if err := n.store.Append(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	return names
}

// bob was a stranger, and what matches was kept for him in the first route; then he is heard of over the other network alone. Does
// all of it go there, once and in order, and nothing new before it?
func TestWhatWasKeptForAStrangerGoesByTheNetworkThatReachesIt(t *testing.T) {
	n := newTwoNetworks(t, "doors/#")
	if got := n.take(t, "lamps/1", "doors/1", "doors/2"); !slices.Equal(got, []string{"r1/bob", "r1/bob", "r1/bob"}) {
		t.Fatalf("kept in %v", got)
	}
	frames := testFrames(t, n.kept)
	msg := receive(t, frames)
	if err := n.kept.handle(msg); !errors.Is(err, errStranger) {
		t.Fatalf("error %v", err)
	}
	msg.Nack()
	if _, err := announce(t, n.bird.interests, 2, "bob", 1, "doors/#"); err != nil {
		t.Fatal(err)
	}
	if got := n.take(t, "doors/3"); !slices.Equal(got, []string{"r1/bob"}) {
		t.Fatalf("the next one came to %v and may overtake", got)
	}
	n.wire.refuse = func([]byte) error { return errors.New("the link broke, and nobody knows when") }
	msg = receive(t, frames)
	if n.kept.handle(msg) == nil {
		t.Fatal("the network took it")
	}
	// Now he is heard of over the first network as well. What may be under way by the other one stays there.
	data, err := profile.Encode(testIdentity(t, 2), "bob", 1, []profile.Entry{{Peer: testIdentity(t, 1).Public(), Filters: []string{"doors/#"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.hub.interests.take(transports.Announcement{Node: "bob", Profile: data}); err != nil {
		t.Fatal(err)
	}
	if err := n.hub.interests.rebuild(); err != nil {
		t.Fatal(err)
	}
	n.wire.refuse = nil
	msg.Nack()
	for !n.kept.lane.Empty() {
		msg = receive(t, frames)
		if err := n.kept.handle(msg); err != nil {
			t.Fatal(err)
		}
		msg.Ack()
		depth := n.kept.lane.Stats().Depth
		await(t, func() bool { return depth == 0 || n.kept.lane.Stats().Depth < depth })
	}
	if got := n.wire.opened(t); !slices.Equal(got, []string{"doors/1", "doors/2", "doors/3"}) || len(n.onHub.got) > 0 {
		t.Errorf("sent %q, and %d frames over the other network", got, len(n.onHub.got))
	}
	if s := n.kept.lane.Stats(); s.Delivered != 3 || s.Dropped[reasonUnwanted] != 1 {
		t.Errorf("the lane counts %+v", s)
	}
}

func TestWhatIsNewGoesByTheOtherRouteOnceNothingIsKept(t *testing.T) {
	n := newTwoNetworks(t, "#")
	n.take(t, "doors/1")
	if _, err := announce(t, n.bird.interests, 2, "bob", 1, "#"); err != nil {
		t.Fatal(err)
	}
	msg := receive(t, testFrames(t, n.kept))
	if err := n.kept.handle(msg); err != nil {
		t.Fatal(err)
	}
	msg.Ack()
	await(t, n.kept.lane.Empty)
	if got := n.take(t, "doors/2"); !slices.Equal(got, []string{"r2/bob"}) {
		t.Errorf("came to %v", got)
	}
}

// No route carries over the network that reaches bob what was kept for him. Does it wait for him to be heard of over its own, and
// then not stand in the way for ever?
func TestWhatNoRouteCarriesWaitsAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTwoNetworks(t, "lamps/#")
		if _, err := announce(t, n.bird.interests, 2, "bob", 1, "#"); err != nil {
			t.Fatal(err)
		}
		if _, err := n.kept.way("doors/1"); !errors.Is(err, errNoRoute) {
			t.Errorf("error %v", err)
		}
		time.Sleep(patience)
		if by, err := n.kept.way("doors/1"); by != nil || err != nil {
			t.Errorf("route %v, error %v", by, err)
		}
		if err := n.store.Close(); err != nil { // its goroutines end within the bubble
			t.Error(err)
		}
	})
}

// A route is moved to another network while frames of its lane are still in the old one. Do those that come late count as
// duplicates of the others?
func TestFramesOfARouteThatWasMovedAreNoDuplicates(t *testing.T) {
	network, broker := &wire{}, &wire{}
	d, store := testDelivery(t, network, &wire{})
	for i, transport := range []string{"bird", "hub"} {
		moved := *d.route
		moved.To = transport
		d.route = &moved
		queue(t, store, d.lane, []string{"doors/1", "doors/2"}[i])
		batch, err := d.lane.Next(t.Context(), 1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		r, err := d.plan(batch)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.publish(t.Context(), &r, r.wanted); err != nil {
			t.Fatal(err)
		}
	}
	n := testIn(t, broker, Subscription{Filter: "#", MaxQoS: 2})
	for _, i := range []int{1, 0, 1} {
		if err := n.take(nil, runOfOne(network.got[i].Payload)); err != nil {
			t.Fatal(err)
		}
	}
	if len(broker.got) != 2 || n.refused.all()[refusedReplayed] != 1 {
		t.Errorf("%d messages arrived, refused %v", len(broker.got), n.refused.all())
	}
}

package pipeline

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/profile"
	"github.com/weft-relay/weft/transports"
)

func testFrames(t *testing.T, d *delivery) <-chan *message.Message {
	t.Helper()
	reader := &laneReader{lane: d.lane, batch: Batch{Count: 100, Bytes: 1 << 20}, origin: "alice", epoch: d.epoch, hope: d.route.interests.news.listen}
	frames, err := reader.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

func queue(t *testing.T, store *lanes.Store, l *lanes.Lane, topics ...string) {
	t.Helper()
	var entries []lanes.Entry
	for _, topic := range topics {
		entries = append(entries, lanes.Entry{Message: frame.Message{Topic: topic, QoS: 1, Time: time.Now()}, Lanes: []*lanes.Lane{l}})
	}
	if err := store.Append(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasKeptForAStrangerIsSortedOutWhenItsWishesAreKnown(t *testing.T) {
	network := &wire{}
	d, store := testDelivery(t, network, &wire{})
	d.route.interests = testInterests(t, t.TempDir())
	queue(t, store, d.lane, "lamps/1", "doors/1", "lamps/2", "doors/2", "lamps/3")
	frames := testFrames(t, d)
	for range 3 {
		msg := receive(t, frames)
		if err := d.handle(msg); !errors.Is(err, errStranger) || d.status().State != "waiting" {
			t.Fatalf("error %v, state %s", err, d.status().State)
		}
		msg.Nack()
	}
	if _, err := announce(t, d.route.interests, 2, "bob", 1, "doors/#"); err != nil {
		t.Fatal(err)
	}
	msg := receive(t, frames)
	if err := d.handle(msg); err != nil {
		t.Fatal(err)
	}
	msg.Ack()
	if got := network.opened(t); !slices.Equal(got, []string{"doors/1", "doors/2"}) {
		t.Errorf("sent %q, not doors/1 and doors/2", got)
	}
	if s := d.lane.Stats(); s.Delivered != 2 || s.Dropped[reasonUnwanted] != 3 || s.Depth != 0 {
		t.Errorf("the lane counts %+v", s)
	}
}

func TestNothingIsSentWhereNothingQueuedIsWantedAnyMore(t *testing.T) {
	network := &wire{}
	d, store := testDelivery(t, network, &wire{})
	queue(t, store, d.lane, "doors/1", "doors/2")
	if _, err := announce(t, d.route.interests, 2, "bob", 2, "lamps/#"); err != nil {
		t.Fatal(err)
	}
	if err := d.handle(receive(t, testFrames(t, d))); err != nil {
		t.Fatal(err)
	}
	if s := d.lane.Stats(); len(network.got) != 0 || s.Dropped[reasonUnwanted] != 2 {
		t.Errorf("%d frames were sent, the lane counts %+v", len(network.got), s)
	}
}

// A frame that the network does not take for longer than its messages may live is not delivered late.
func TestMessagesGrowTooOldWhileTheNetworkIsDown(t *testing.T) {
	d, store := testDelivery(t, &wire{refuse: func([]byte) error { return errors.New("link down") }}, &wire{})
	d.lane.SetLimits(lanes.Limits{Age: 200 * time.Millisecond})
	queue(t, store, d.lane, "doors/1", "doors/2")
	frames := testFrames(t, d)
	for d.lane.Stats().Depth > 0 {
		select {
		case msg := <-frames:
			if d.handle(msg) == nil {
				t.Fatal("the network took it")
			}
			msg.Nack()
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(10 * time.Millisecond): // look again
		}
	}
	if s := d.lane.Stats(); s.Dropped[lanes.ReasonAge] != 2 {
		t.Errorf("the lane counts %+v", s)
	}
}

// alice lists bob, and bob runs already, but his owner has not listed alice yet. Is what she keeps for him kept until he does?
func TestWhatIsKeptForAPeerThatDoesNotListUsIsKeptUntilItDoes(t *testing.T) {
	network := &wire{}
	d, store := testDelivery(t, network, &wire{})
	d.route.interests = testInterests(t, t.TempDir())
	unlisting, err := profile.Encode(testIdentity(t, 2), "bob", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.route.interests.take(transports.Announcement{Node: "mqtt_bob", Profile: unlisting}); err != nil {
		t.Fatal(err)
	}
	if err := d.route.interests.rebuild(); err != nil {
		t.Fatal(err)
	}
	queue(t, store, d.lane, "doors/1")
	frames := testFrames(t, d)
	msg := receive(t, frames)
	if err := d.handle(msg); !errors.Is(err, errUnlisted) {
		t.Fatalf("error %v", err)
	}
	msg.Nack()
	if _, err := announce(t, d.route.interests, 2, "bob", 2, "doors/#"); err != nil {
		t.Fatal(err)
	}
	msg = receive(t, frames)
	if err := d.handle(msg); err != nil {
		t.Fatal(err)
	}
	msg.Ack()
	if got := network.opened(t); !slices.Equal(got, []string{"doors/1"}) {
		t.Errorf("sent %q, not doors/1", got)
	}
}

// bob announces himself with a new key, which alice's owner has not listed yet. Is what she has for him kept, also over a restart of
// her node, until a profile by the listed key is seen again?
func TestNothingIsSealedWithAKeyThatThePeerHasNoMore(t *testing.T) {
	network, dir := &wire{}, t.TempDir()
	d, store := testDelivery(t, network, &wire{})
	d.route.interests = testInterests(t, dir)
	if _, err := announce(t, d.route.interests, 2, "bob", 1, "doors/#"); err != nil {
		t.Fatal(err)
	}
	if _, err := announce(t, d.route.interests, 7, "bob", 2, "doors/#"); err == nil {
		t.Fatal("a profile by another key was taken")
	}
	queue(t, store, d.lane, "doors/1")
	frames := testFrames(t, d)
	held := func() {
		t.Helper()
		msg := receive(t, frames)
		if err := d.handle(msg); !errors.Is(err, errOtherKey) {
			t.Fatalf("error %v", err)
		}
		msg.Nack()
	}
	held()
	d.route.interests = testInterests(t, dir) // it starts again, and has the profile that it kept
	held()
	listed := testPeers(t)
	for _, p := range listed {
		if p.Name == "bob" {
			p.Key = testIdentity(t, 7).Public() // the owner lists the new one
		}
	}
	in, err := newInterests("bird", false, dir, testIdentity(t, 1), listed, &bell{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if in.hasOtherKey(d.to) {
		t.Error("what is shown is signed with the key that is listed now")
	}
	if _, err := announce(t, d.route.interests, 2, "bob", 1, "doors/#"); err != nil {
		t.Fatal(err)
	}
	msg := receive(t, frames)
	if err := d.handle(msg); err != nil {
		t.Fatal(err)
	}
	msg.Ack()
	if got := network.opened(t); !slices.Equal(got, []string{"doors/1"}) {
		t.Errorf("sent %q, not doors/1", got)
	}
	if testInterests(t, dir).hasOtherKey(d.to) {
		t.Error("it is remembered although the listed key was seen")
	}
}

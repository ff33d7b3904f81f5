package pipeline

import (
	"slices"
	"testing"
	"time"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
)

// handled hands the delivery what is in its lane, and returns the outcome.
func handled(t *testing.T, d *delivery) <-chan error {
	t.Helper()
	reader := &laneReader{lane: d.lane, batch: Batch{Count: 100, Bytes: 1 << 20}, origin: "alice", epoch: d.epoch}
	frames, err := reader.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	msg := receive(t, frames)
	done := make(chan error, 1)
	go func() { done <- d.handle(msg) }()
	return done
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
	d, store := testDelivery(t, network, &wire{}, 0)
	d.interests = testInterests(t, t.TempDir())
	queue(t, store, d.lane, "lamps/1", "doors/1", "lamps/2", "doors/2", "lamps/3")
	done := handled(t, d)
	for _, err := d.state.get(); err == nil; _, err = d.state.get() {
		if t.Context().Err() != nil {
			t.Fatal("the lane does not say that it waits")
		}
	}
	if len(network.opened(t)) != 0 {
		t.Fatal("something was sent to a peer that has announced nothing")
	}
	if _, err := announce(t, d.interests, 2, "bob", 1, "doors/#"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := network.opened(t); !slices.Equal(got, []string{"doors/1", "doors/2"}) {
		t.Errorf("sent %q, not doors/1 and doors/2", got)
	}
	if s := d.lane.Stats(); s.Delivered != 2 || s.Dropped[reasonUnwanted] != 3 || s.Depth != 0 {
		t.Errorf("the lane counts %+v", s)
	}
}

func TestNothingIsSentWhereNothingQueuedIsWantedAnyMore(t *testing.T) {
	network := &wire{}
	d, store := testDelivery(t, network, &wire{}, 0)
	queue(t, store, d.lane, "doors/1", "doors/2")
	if _, err := announce(t, d.interests, 2, "bob", 2, "lamps/#"); err != nil {
		t.Fatal(err)
	}
	done := handled(t, d)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := d.lane.Stats(); len(network.got) != 0 || s.Dropped[reasonUnwanted] != 2 {
		t.Errorf("%d frames were sent, the lane counts %+v", len(network.got), s)
	}
}

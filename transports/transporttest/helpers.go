package transporttest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

const (
	// patience is how long a test waits for what must happen.
	patience = time.Minute
	// quiet is how long it watches that something does not happen.
	quiet = 150 * time.Millisecond
)

// subscribe begins a subscription that lasts as long as the test.
func (n *node) subscribe(t T, topic string) <-chan *message.Message {
	t.Helper()
	frames, err := n.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatalf("%s subscribes to %s: %v", n.name, topic, err)
	}
	return frames
}

// following subscribes to the feed, and returns when frames of the origins arrive: a follower's feed begins with what is
// published after the network knows of it. The frames published meanwhile have the number 0.
func following(t T, n *node, origins ...*node) <-chan *message.Message {
	t.Helper()
	feed := n.subscribe(t, transports.Feed)
	for _, origin := range origins {
		probe := 0
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		deadline := time.After(patience)
		for arrived := false; !arrived; {
			select {
			case <-tick.C:
				probe++
				m := frame(origin.name, 0)
				m.UUID = fmt.Sprintf("%s-probe-%s-%d", origin.name, n.name, probe)
				origin.publish(t, transports.Broadcast, m)
			case m := <-feed:
				m.Ack()
				arrived = string(m.Payload) == origin.name+" 0"
			case <-deadline:
				t.Fatalf("%s hears nothing of %s", n.name, origin.name)
			}
		}
	}
	return feed
}

// publish publishes with a deadline. Where Publish returns only when the recipient has taken a frame, which a test may do later, direct
// frames are published in the background, in order; what comes of them the recipient shows.
func (n *node) publish(t T, topic string, frames ...*message.Message) {
	t.Helper()
	if _, direct := transports.DirectPeer(topic); direct && n.waits {
		n.publishLater(t, topic, frames)
		return
	}
	if err := n.tryPublish(t.Context(), topic, frames...); err != nil {
		t.Fatalf("%s publishes to %s: %v", n.name, topic, err)
	}
}

func (n *node) publishLater(t T, topic string, frames []*message.Message) {
	ctx, cancel := context.WithCancel(t.Context())
	before, done := n.last, make(chan struct{})
	n.last = done
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		if err := n.tryPublish(ctx, topic, frames...); transports.IsPermanent(err) {
			t.Errorf("%s publishes to %s: %v", n.name, topic, err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func (n *node) tryPublish(ctx context.Context, topic string, frames ...*message.Message) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, m := range frames {
		m.SetContext(ctx)
	}
	return n.Publish(topic, frames...)
}

// receive returns the next frame, not acknowledged.
func receive(t T, frames <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-frames:
		if !ok {
			t.Fatal("channel closed")
		}
		return m
	case <-time.After(patience):
		t.Fatal("no frame")
	}
	return nil
}

// nothing checks that no frame comes for a while.
func nothing(t T, frames <-chan *message.Message) {
	t.Helper()
	select {
	case m := <-frames:
		t.Fatalf("unexpected frame %q", m.Payload)
	case <-time.After(quiet):
	}
}

// expect acknowledges the frames of the origin from one number to another and checks that nothing else comes between, except what
// was received before: a network may deliver a frame again.
func expect(t T, frames <-chan *message.Message, origin string, from, to int) {
	t.Helper()
	for next := from; next <= to; {
		m := receive(t, frames)
		number := numberOf(t, m, origin)
		if number > next {
			t.Fatalf("frame %d of %s came when %d was due", number, origin, next)
		}
		if number == next {
			if m.UUID != frame(origin, number).UUID {
				t.Fatalf("frame %d of %s has the UUID %q", number, origin, m.UUID)
			}
			next++
		}
		m.Ack()
	}
}

func numberOf(t T, m *message.Message, origin string) int {
	t.Helper()
	var from string
	var number int
	if _, err := fmt.Sscanf(string(m.Payload), "%s %d", &from, &number); err != nil || from != origin {
		t.Fatalf("frame %q; want one of %s", m.Payload, origin)
	}
	return number
}

// closed checks that the channel is closed soon. Frames still in it are passed over.
func closed[E any](t T, c <-chan E) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, ok := <-c:
			if !ok {
				return
			}
		case <-deadline:
			t.Fatal("channel still open")
		}
	}
}

// eventually polls until the claim holds.
func eventually(t T, claim string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", claim)
		}
	}
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

package transporttest

import (
	"bytes"
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

func tooLargeIsPermanent(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	limited, ok := alice.Transport.(transports.MaxPayloader)
	if !ok {
		t.Skip("it takes frames of any size")
	}
	eventually(t, "the largest payload is known", func() bool { return limited.MaxPayload() > 0 })
	largest := limited.MaxPayload()
	fits := message.NewMessage("11111111-1111-1111-1111-111111111111", bytes.Repeat([]byte{'x'}, largest))
	inbox := bob.subscribe(t, transports.Inbox)
	sent := make(chan error, 1)
	go func() { sent <- alice.tryPublish(t.Context(), transports.Direct("bob"), fits) }()
	if m := receive(t, inbox); !bytes.Equal(m.Payload, fits.Payload) {
		t.Errorf("%d bytes arrived of the largest frame of %d", len(m.Payload), largest)
	} else {
		m.Ack()
	}
	if err := <-sent; err != nil {
		t.Errorf("publish of the largest frame: %v", err)
	}
	tooLarge := message.NewMessage("22222222-2222-2222-2222-222222222222", make([]byte, largest+1))
	if err := alice.tryPublish(t.Context(), transports.Direct("bob"), tooLarge); !transports.IsPermanent(err) {
		t.Errorf("a frame of MaxPayload+1 bytes: %v; want a permanent error", err)
	}
	alice.publish(t, transports.Direct("bob"), frame("alice", 1))
	expect(t, inbox, "alice", 1, 1)
}

func unknownTopicIsRefused(t T, b *bench) {
	alice := b.node(t, "alice")
	for _, topic := range []string{"", "bob", transports.Inbox, transports.Direct(""), transports.Direct("no such name!")} {
		if err := alice.tryPublish(t.Context(), topic, frame("alice", 1)); !transports.IsPermanent(err) {
			t.Errorf("publish to %q: %v; want a permanent error", topic, err)
		}
	}
	if _, err := alice.Subscribe(t.Context(), "bob"); err == nil {
		t.Error("a subscription to an unknown topic was taken")
	}
	alice.publish(t, transports.Direct("bob"), frame("alice", 1)) // refusing has cost nothing
	alice.publish(t, transports.Broadcast, frame("alice", 2))
}

func publishHonoursContext(t T, b *bench) {
	alice := b.node(t, "alice")
	alice.publish(t, transports.Direct("bob"), frame("alice", 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := frame("alice", 2)
	m.SetContext(ctx)
	if err := alice.Publish(transports.Direct("bob"), m); !isContextError(err) || transports.IsPermanent(err) {
		t.Errorf("publish with an ended context: %v", err)
	}
}

func closeEndsChannels(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob", "alice")
	inbox, feed, idle := bob.subscribe(t, transports.Inbox), bob.subscribe(t, transports.Feed), alice.subscribe(t, transports.Feed)
	alice.publish(t, transports.Direct("bob"), frame("alice", 1))
	m := receive(t, inbox) // and held, so that Close finds the transport waiting for its acknowledgement
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-m.Context().Done():
	case <-time.After(patience):
		t.Error("the context of the frame in hand goes on")
	}
	closed(t, inbox)
	closed(t, feed)
	if err := alice.Close(); err != nil {
		t.Fatal(err)
	}
	closed(t, idle)
	if err := alice.tryPublish(t.Context(), transports.Direct("bob"), frame("alice", 2)); err == nil {
		t.Error("a closed transport has published")
	}
	if _, err := alice.Subscribe(t.Context(), transports.Inbox); err == nil {
		t.Error("a closed transport has subscribed")
	}
}

func contextEndsSubscription(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	ctx, cancel := context.WithCancel(t.Context())
	inbox, err := bob.Subscribe(ctx, transports.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	alice.publish(t, transports.Direct("bob"), frame("alice", 1))
	expect(t, inbox, "alice", 1, 1)
	cancel()
	closed(t, inbox)
	again := bob.subscribe(t, transports.Inbox)
	alice.publish(t, transports.Direct("bob"), frame("alice", 2))
	expect(t, again, "alice", 2, 2)
}

func reportFollowsConnection(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	eventually(t, "alice is up", func() bool { return alice.Report().State == transports.Up })
	inbox := bob.subscribe(t, transports.Inbox)
	alice.publish(t, transports.Direct("bob"), frame("alice", 1))
	expect(t, inbox, "alice", 1, 1)
	eventually(t, "BytesOut is that of one frame", func() bool { return alice.Report().BytesOut == uint64(len(frame("alice", 1).Payload)) })
	eventually(t, "BytesIn is that of one frame", func() bool { return bob.Report().BytesIn == uint64(len(frame("alice", 1).Payload)) })
	if err := alice.Close(); err != nil {
		t.Fatal(err)
	}
	if r := alice.Report(); r.State != transports.Down || r.Since.IsZero() {
		t.Errorf("report of a closed transport: %+v", r)
	}
}

package nats_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
)

func frame(number int) *message.Message {
	return message.NewMessage(fmt.Sprintf("frame-%d", number), fmt.Appendf(nil, "%d", number))
}

// publish sends a frame with a deadline.
func publish(t testing.TB, n *nats.Transport, topic string, m *message.Message) error {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m.SetContext(ctx)
	return n.Publish(topic, m)
}

func mustPublish(t testing.TB, n *nats.Transport, topic string, m *message.Message) {
	t.Helper()
	if err := publish(t, n, topic, m); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t testing.TB, n *nats.Transport, topic string) <-chan *message.Message {
	t.Helper()
	frames, err := n.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

// receive returns the next frame, not acknowledged.
func receive(t testing.TB, frames <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-frames:
		if ok {
			return m
		}
		t.Fatal("channel closed")
	case <-time.After(40 * time.Second):
		t.Fatal("no frame")
	}
	return nil
}

func expect(t testing.TB, frames <-chan *message.Message, numbers ...int) {
	t.Helper()
	for _, number := range numbers {
		m := receive(t, frames)
		if string(m.Payload) != fmt.Sprint(number) {
			t.Fatalf("frame %s came; want %d", m.Payload, number)
		}
		m.Ack()
	}
}

func TestFullInboxRefusesFramesAndLosesNone(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	limits := nats.Limits{Frames: 3}
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice", Limits: limits})
	for i := 1; i <= 3; i++ {
		mustPublish(t, alice, transports.Direct("bob"), frame(i))
	}
	if err := publish(t, alice, transports.Direct("bob"), frame(4)); !errors.Is(err, nats.ErrFull) || transports.IsPermanent(err) {
		t.Fatalf("a fourth frame of three: %v; want ErrFull, which a retry cures", err)
	} else if !strings.Contains(err.Error(), "bob is away or slow: limits.frames") {
		t.Errorf("%v does not name the peer and the limit", err)
	}
	mustPublish(t, alice, transports.Direct("carol"), frame(1)) // bob's absence is not carol's trouble

	inbox := subscribe(t, startNode(t, nats.Config{URL: server.ClientURL(), Node: "bob"}), transports.Inbox)
	expect(t, inbox, 1)
	eventually(t, "the refused frame is taken later", func() bool {
		return publish(t, alice, transports.Direct("bob"), frame(4)) == nil
	})
	expect(t, inbox, 2, 3, 4)
}

func TestFullStreamRefusesFrames(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice", Limits: nats.Limits{Bytes: 1 << 20}})
	var err error
	sent := 0
	for ; err == nil && sent < 100; sent++ {
		err = publish(t, alice, transports.Direct("bob"), message.NewMessage(fmt.Sprint(sent), make([]byte, 100_000)))
	}
	if !errors.Is(err, nats.ErrFull) || sent < 5 {
		t.Fatalf("after %d frames: %v; want ErrFull at the tenth or so", sent, err)
	}
	if !strings.Contains(err.Error(), "limits.bytes") {
		t.Errorf("%v does not name the limit", err)
	}
}

func TestExistingStreamsAreNotAltered(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	js := server.client(t)
	want := jetstream.StreamConfig{
		Name: "WEFT_DIRECT", Subjects: []string{"weft.direct.*"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.MemoryStorage,
		MaxMsgs: 77, MaxMsgSize: 4096, MaxBytes: 1 << 20, Discard: jetstream.DiscardNew,
	}
	made, err := js.CreateStream(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	before := made.CachedInfo().Config
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice"})
	inbox := subscribe(t, startNode(t, nats.Config{URL: server.ClientURL(), Node: "bob"}), transports.Inbox)
	mustPublish(t, alice, transports.Direct("bob"), frame(1))
	expect(t, inbox, 1)
	stream, err := js.Stream(t.Context(), "WEFT_DIRECT")
	if err != nil {
		t.Fatal(err)
	}
	if after := stream.CachedInfo().Config; !reflect.DeepEqual(before, after) {
		t.Errorf("the stream was altered from %+v to %+v", before, after)
	}
	if limit := alice.MaxPayload(); limit <= 0 || limit >= 4096 {
		t.Errorf("MaxPayload is %d though the stream takes messages of 4096 bytes", limit)
	}
	fits := message.NewMessage("11111111-1111-1111-1111-111111111111", make([]byte, alice.MaxPayload()))
	if err := publish(t, alice, transports.Direct("bob"), fits); err != nil {
		t.Errorf("a frame of MaxPayload bytes: %v", err)
	}
}

func TestDeletedStreamsAndConsumersAreMadeAgain(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	js := server.client(t)
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice"})
	inbox := subscribe(t, startNode(t, nats.Config{URL: server.ClientURL(), Node: "bob"}), transports.Inbox)
	mustPublish(t, alice, transports.Direct("bob"), frame(1))
	expect(t, inbox, 1)

	if err := js.DeleteConsumer(t.Context(), "WEFT_DIRECT", "bob"); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, alice, transports.Direct("bob"), frame(2))
	expect(t, inbox, 2)

	if err := js.DeleteStream(t.Context(), "WEFT_DIRECT"); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, alice, transports.Direct("bob"), frame(3))
	expect(t, inbox, 3)
}

func TestDeletedBucketGetsItsProfilesBack(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	js := server.client(t)
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice"})
	bob := startNode(t, nats.Config{URL: server.ClientURL(), Node: "bob"})
	profiles, err := alice.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.Announce(t.Context(), []byte("alice's")); err != nil {
		t.Fatal(err)
	}
	await := func(node, profile string) {
		t.Helper()
		for a := range profiles {
			if a.Node == node && string(a.Profile) == profile {
				return
			}
		}
	}
	await("alice", "alice's")
	if err := js.DeleteKeyValue(t.Context(), "WEFT_PROFILES"); err != nil {
		t.Fatal(err)
	}
	await("alice", "alice's")
	if err := bob.Announce(t.Context(), []byte("bob's")); err != nil {
		t.Fatal(err)
	}
	await("bob", "bob's")
}

// Does a profile come back when somebody else, as another node, is the first to make the bucket anew?
func TestBucketMadeAnewByAnotherGetsTheProfileBack(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	js := server.client(t)
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice"})
	profiles, err := alice.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.Announce(t.Context(), []byte("alice's")); err != nil {
		t.Fatal(err)
	}
	if a := <-profiles; string(a.Profile) != "alice's" {
		t.Fatalf("profile %q", a.Profile)
	}
	if err := js.DeleteKeyValue(t.Context(), "WEFT_PROFILES"); err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "WEFT_PROFILES"})
	if err != nil && !errors.Is(err, jetstream.ErrBucketExists) { // alice may have been faster
		t.Fatal(err)
	}
	if a := <-profiles; string(a.Profile) != "alice's" {
		t.Fatalf("profile %q", a.Profile)
	}
}

func TestServerWithoutJetStreamIsReportedAndWaitedFor(t *testing.T) {
	t.Parallel()
	server := startServer(t, func(o *natsserver.Options) { o.JetStream = false })
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice"})
	eventually(t, "the report says that JetStream is missing", func() bool {
		r := alice.Report()
		return r.State == transports.Stalled && strings.Contains(r.Detail, "JetStream")
	})
	t.Log(alice.Report().Detail)
	server.opts.JetStream = true
	server.restart(t)
	mustPublish(t, alice, transports.Direct("bob"), frame(1))
	if r := alice.Report(); r.State != transports.Up || r.Detail != "" || r.Reconnects != 1 {
		t.Errorf("report afterwards: %+v", r)
	}
}

func TestNewFollowerBeginsNow(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	js := server.client(t)
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice"})
	carol := startNode(t, nats.Config{URL: server.ClientURL(), Node: "carol"})
	mustPublish(t, alice, transports.Broadcast, frame(1))

	bob := startNode(t, nats.Config{URL: server.ClientURL(), Node: "bob", Follow: []string{"alice"}})
	feed := subscribe(t, bob, transports.Feed)
	eventually(t, "bob's consumer is there", func() bool {
		_, err := js.Consumer(t.Context(), "WEFT_FEED", "bob")
		return err == nil
	})
	mustPublish(t, alice, transports.Broadcast, frame(2))
	expect(t, feed, 2)
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}

	// Following one more keeps the place in the feed.
	mustPublish(t, alice, transports.Broadcast, frame(3))
	bob = startNode(t, nats.Config{URL: server.ClientURL(), Node: "bob", Follow: []string{"carol", "alice"}})
	feed = subscribe(t, bob, transports.Feed)
	expect(t, feed, 3)
	mustPublish(t, carol, transports.Broadcast, frame(4))
	expect(t, feed, 4)
}

// Does the server hear of an acknowledgement when the node closes right behind it?
func TestFrameAcknowledgedBeforeCloseDoesNotComeAgain(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	js := server.client(t)
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice"})
	for _, tt := range []struct{ from, to, stream string }{
		{transports.Broadcast, transports.Feed, "WEFT_FEED"},
		{transports.Direct("bob"), transports.Inbox, "WEFT_DIRECT"},
	} {
		for i := range 20 {
			bob := startNode(t, nats.Config{URL: server.ClientURL(), Node: "bob", Follow: []string{"alice"}})
			frames := subscribe(t, bob, tt.to)
			eventually(t, "bob's consumer is there", func() bool {
				_, err := js.Consumer(t.Context(), tt.stream, "bob")
				return err == nil
			})
			mustPublish(t, alice, tt.from, message.NewMessage(fmt.Sprint(tt.to, i), fmt.Append(nil, i)))
			expect(t, frames, i)
			if err := bob.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// JetStream delivers again what nobody has acknowledged in AckWait (5 s): a slow broker must not get everything twice.
func TestFrameHeldForLongIsNotDeliveredAgain(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice"})
	inbox := subscribe(t, startNode(t, nats.Config{URL: server.ClientURL(), Node: "bob"}), transports.Inbox)
	mustPublish(t, alice, transports.Direct("bob"), frame(1))
	m := receive(t, inbox)
	consumer, err := server.client(t).Consumer(t.Context(), "WEFT_DIRECT", "bob")
	if err != nil {
		t.Fatal(err)
	}
	for held := time.Now(); time.Since(held) < 8*time.Second; {
		info, err := consumer.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.NumRedelivered != 0 || info.NumAckPending != 1 {
			t.Fatalf("after %v: %d redelivered, %d pending", time.Since(held), info.NumRedelivered, info.NumAckPending)
		}
		select {
		case again := <-inbox:
			t.Fatalf("frame %s came while another was held", again.Payload)
		case <-time.After(500 * time.Millisecond):
		}
	}
	m.Ack()
	mustPublish(t, alice, transports.Direct("bob"), frame(2))
	expect(t, inbox, 2)
}

// The server may hold less than the streams reserve. Is that said with what to do about it?
func TestServerWithoutRoomIsNamed(t *testing.T) {
	t.Parallel()
	server := startServer(t, func(o *natsserver.Options) { o.JetStreamMaxStore = 100 << 20 })
	alice := startNode(t, nats.Config{URL: server.ClientURL(), Node: "alice"})
	want := "stream WEFT_DIRECT: it reserves 1024 MiB, and the server has no room for it: set limits.bytes of this transport lower"
	eventually(t, "the report says so", func() bool { return strings.HasPrefix(alice.Report().Detail, want) })
	bob := startNode(t, nats.Config{URL: server.ClientURL(), Node: "bob", Limits: nats.Limits{Bytes: 20 << 20}})
	eventually(t, "bob is up", isUp(bob))
	eventually(t, "alice finds the streams that bob has made", isUp(alice))
}

package twister_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

func TestFrameIsPublishedOnceItsReceiptHasCome(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	alice, bob := w.node(t, "alice"), w.node(t, "bob")
	inbox := subscribe(t, bob)
	published := make(chan error, 1)
	go func() { published <- send(t.Context(), alice, "bob", frame(1)) }()
	m := receive(t, inbox)
	require.Equal(t, "frame 1", string(m.Payload))
	require.Equal(t, "alice", m.Metadata.Get(transports.MetaFrom))
	select {
	case <-published:
		require.FailNow(t, "it was published before it was acknowledged")
	default:
	}
	m.Ack()
	require.NoError(t, <-published)
}

func TestLargestFrameGoesInPiecesAndOneMoreByteIsRefusedForGood(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	alice, bob := w.node(t, "alice"), w.node(t, "bob")
	inbox := subscribe(t, bob)
	payload := bytes.Repeat([]byte("0123456\xff\x00\x80"), twister.MaxPayload/10+1)[:twister.MaxPayload]
	published := make(chan error, 1)
	go func() { published <- send(t.Context(), alice, "bob", message.NewMessage("large", payload)) }()
	m := receive(t, inbox)
	require.True(t, bytes.Equal(payload, m.Payload))
	m.Ack()
	require.NoError(t, <-published)
	err := alice.Publish(transports.Direct("bob"), message.NewMessage("larger", append(payload, 0)))
	require.True(t, transports.IsPermanent(err), "%v", err)
}

func TestReceiptsRideOnFramesOfTheOtherWay(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	alice := w.node(t, "alice")
	bob := w.node(t, "bob", func(c *twister.Config) { c.ReceiptDelay = time.Hour })
	gatherFrom(subscribe(t, alice))
	atBob := gatherFrom(subscribe(t, bob))
	var running sync.WaitGroup
	for i := range 20 {
		running.Go(func() { _ = send(t.Context(), alice, "bob", frame(i)) })
	}
	require.Eventually(t, func() bool { return len(atBob.all()) == 20 }, patience, time.Millisecond)
	require.Empty(t, w.posts(t, "bob"), "nothing to ride on")
	require.Eventually(t, func() bool { // until the position is on disk, of which the receipt tells
		publish(t, bob, "alice", frame(len(w.posts(t, "bob"))))
		return alice.Report().BytesOut == 10*uint64(len("frame 1")+len("frame 10"))
	}, patience, 10*time.Millisecond)
	running.Wait()
	for _, post := range w.posts(t, "bob") {
		require.Less(t, post.K, 10, "no receipt went alone")
	}
}

func TestReceiptsAreBatched(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	batched := func(c *twister.Config) { c.ReceiptDelay = 200 * time.Millisecond; c.ResendAfter = time.Hour }
	alice, bob := w.node(t, "alice", batched), w.node(t, "bob", batched)
	got := gatherFrom(subscribe(t, bob))
	var running sync.WaitGroup
	for i := range 30 {
		running.Go(func() { _ = send(t.Context(), alice, "bob", frame(i)) })
	}
	running.Wait()
	require.Len(t, got.all(), 30)
	require.Less(t, len(w.posts(t, "bob")), 10, "receipts for 30 frames")
}

func TestSameFrameAgainIsSentOnce(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	alice, bob := w.node(t, "alice"), w.node(t, "bob")
	got := gatherFrom(subscribe(t, bob))
	publish(t, alice, "bob", frame(1), frame(1), frame(2))
	publish(t, alice, "bob", frame(1))
	require.Equal(t, []string{"frame 1", "frame 2"}, got.all())
}

func TestManyFramesArriveInOrderThoughOneSecondIsListedInReverse(t *testing.T) {
	w := newWorld(t, twistertest.Options{Now: func() time.Time { return time.Unix(1795331070, 0) }}, "alice", "bob")
	alice, bob := w.node(t, "alice"), w.node(t, "bob")
	got := gatherFrom(subscribe(t, bob))
	var frames []*message.Message
	var want []string
	for i := range 200 {
		frames = append(frames, frame(i))
		want = append(want, fmt.Sprintf("frame %d", i))
	}
	publish(t, alice, "bob", frames...)
	require.Equal(t, want, got.all())
}

// As quick as a real daemon, which takes 6.5 ms for a call and knows only some milliseconds later which k that has used.
func TestFramesArriveInOrderEachOnceAtTheSpeedOfARealDaemon(t *testing.T) {
	w := newWorld(t, twistertest.Options{Speed: twistertest.WarmSpeed()}, "alice", "bob")
	sent := record(t, w.daemons["alice"])
	unhurried := func(c *twister.Config) {
		c.Second, c.Poll, c.ResendAfter = time.Second, 50*time.Millisecond, time.Minute
	}
	alice, bob := w.node(t, "alice", sent.through, unhurried), w.node(t, "bob", unhurried)
	got := gatherFrom(subscribe(t, bob))
	const count = 64
	var frames []*message.Message
	for i := range count {
		frames = append(frames, frame(i))
	}
	publish(t, alice, "bob", frames...)
	inOrder(t, got.all(), count, 1)
	require.Empty(t, sent.twice())
	require.Len(t, sent.taken(), count)
}

func TestFrameWhosePublisherGaveUpGoesOnAndIsJoined(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	sent := record(t, w.daemons["alice"])
	patient := func(c *twister.Config) { c.ResendAfter = time.Hour }
	alice, bob := w.node(t, "alice", sent.through, patient), w.node(t, "bob", patient)
	for range 3 { // nobody subscribes
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		m := frame(1)
		m.SetContext(ctx)
		require.ErrorIs(t, alice.Publish(transports.Direct("bob"), m), context.DeadlineExceeded)
		cancel()
	}
	got := gatherFrom(subscribe(t, bob))
	publish(t, alice, "bob", frame(1))
	require.Equal(t, []string{"frame 1"}, got.all())
	require.Len(t, sent.taken(), 1)
}

func TestNoMoreFramesAreUnderWayThanARecipientKeeps(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	sent := record(t, w.daemons["alice"])
	patient := func(c *twister.Config) { c.ResendAfter = time.Hour }
	alice, bob := w.node(t, "alice", sent.through, patient), w.node(t, "bob", patient)
	const count = 50
	var frames []*message.Message
	for i := range count {
		frames = append(frames, frame(i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for _, m := range frames {
		m.SetContext(ctx)
	}
	require.ErrorIs(t, alice.Publish(transports.Direct("bob"), frames...), context.DeadlineExceeded)
	require.LessOrEqual(t, len(sent.taken()), 32)
	got := gatherFrom(subscribe(t, bob))
	publish(t, alice, "bob", frames...)
	inOrder(t, got.all(), count, 1)
	require.Len(t, sent.taken(), count)
}

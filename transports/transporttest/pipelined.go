package transporttest

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

func (n *node) pipelined() transports.Pipelined {
	p, _ := n.Transport.(transports.Pipelined)
	return p
}

// oneByOne says why there is nothing to see.
const oneByOne = "it takes one frame after the other"

// stream is the way of some frames to bob.
type stream func(*message.Message) <-chan error

func (n *node) stream() stream { return n.pipelined().Stream(transports.Direct("bob")) }

// send sends frames, none waiting for the one before it.
func (s stream) send(ctx context.Context, frames ...*message.Message) (results []<-chan error) {
	for _, m := range frames {
		m.SetContext(ctx)
		results = append(results, s(m))
	}
	return results
}

// frames returns the frames of the node from one number to another.
func (n *node) frames(from, to int) (frames []*message.Message) {
	for i := from; i <= to; i++ {
		frames = append(frames, frame(n.name, i))
	}
	return frames
}

// result returns what has come of a frame.
func result(t T, from <-chan error) error {
	t.Helper()
	select {
	case err := <-from:
		return err
	case <-time.After(patience):
		t.Error("nothing comes of a frame")
		return context.DeadlineExceeded
	}
}

// confirmed returns how many frames were confirmed, and checks that none was behind one that has failed.
func confirmed(t T, results []<-chan error) int {
	t.Helper()
	good, failed := 0, error(nil)
	for i, r := range results {
		err := result(t, r)
		switch {
		case err == nil && failed != nil:
			t.Errorf("of %d frames the %dth is confirmed, though one before it has failed: %v", len(results), i+1, failed)
		case err == nil:
			good++
		case failed == nil:
			failed = err
		}
	}
	return good
}

// flow sends the frames from one number to another as a lane does: all at once, and what was not confirmed again.
func (n *node) flow(t T, from, to int) {
	t.Helper()
	for from <= to && t.Context().Err() == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		from += confirmed(t, n.stream().send(ctx, n.frames(from, to)...))
		cancel()
	}
}

// meanwhile runs f while the test goes on, and returns what waits for it.
func meanwhile(t T, f func()) (wait func()) {
	var running sync.WaitGroup
	running.Go(f)
	t.Cleanup(running.Wait)
	return running.Wait
}

func framesSentWithoutWaitingArriveInOrder(t T, b *bench) {
	const count = 200
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	if alice.pipelined() == nil {
		t.Skip(oneByOne)
	}
	inbox := bob.subscribe(t, transports.Inbox)
	wait := meanwhile(t, func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if n := confirmed(t, alice.stream().send(ctx, alice.frames(1, count)...)); n != count {
			t.Errorf("%d frames are confirmed, want %d", n, count)
		}
	})
	expect(t, inbox, "alice", 1, count)
	wait()
	nothing(t, inbox)
}

// nackSkipsNoFrame has bob refuse a frame now and then, with others in flight behind it.
func nackSkipsNoFrame(t T, b *bench) {
	const count, stretch = 60, 20
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	if alice.pipelined() == nil {
		t.Skip(oneByOne)
	}
	inbox := bob.subscribe(t, transports.Inbox)
	wait := meanwhile(t, func() { alice.flow(t, 1, count) })
	for from := 1; from <= count; from += stretch {
		receive(t, inbox).Nack()
		expect(t, inbox, "alice", from, from+stretch-1)
	}
	wait()
}

// failedSendSkipsNoFrame has a frame fail while others are in flight before and behind it, and sends on as who does not know yet.
func failedSendSkipsNoFrame(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	if alice.pipelined() == nil {
		t.Skip(oneByOne)
	}
	inbox := bob.subscribe(t, transports.Inbox)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	third, give := context.WithCancel(ctx)
	bobs := alice.stream()
	results := bobs.send(ctx, alice.frames(1, 2)...)
	results = append(results, bobs.send(third, frame("alice", 3))...)
	results = append(results, bobs.send(ctx, alice.frames(4, 5)...)...)
	first := receive(t, inbox) // and held: where no store has taken them over, all wait
	give()
	results = append(results, bobs.send(third, frame("alice", 6))...)
	results = append(results, bobs.send(ctx, frame("alice", 7))...)
	for i, r := range results[5:] {
		if err := result(t, r); err == nil || transports.IsPermanent(err) {
			t.Errorf("frame %d: %v; want an error that a retry cures", i+6, err)
		}
	}
	if n := numberOf(t, first, "alice"); n != 1 {
		t.Fatalf("frame %d came first", n)
	}
	first.Ack()
	wait := meanwhile(t, func() { alice.flow(t, confirmed(t, results[:5])+1, 10) })
	expect(t, inbox, "alice", 2, 10)
	wait()
}

// tooLargeSkipsNoFrame has a frame fail for good.
func tooLargeSkipsNoFrame(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	limited, ok := alice.Transport.(transports.MaxPayloader)
	if alice.pipelined() == nil || !ok {
		t.Skip(oneByOne + ", or frames of any size")
	}
	eventually(t, "the largest payload is known", func() bool { return limited.MaxPayload() > 0 })
	inbox := bob.subscribe(t, transports.Inbox)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tooLarge := message.NewMessage("22222222-2222-2222-2222-222222222222", make([]byte, limited.MaxPayload()+1))
	results := alice.stream().send(ctx, frame("alice", 1), frame("alice", 2), tooLarge, frame("alice", 3))
	if err := result(t, results[2]); !transports.IsPermanent(err) {
		t.Errorf("a frame of MaxPayload+1 bytes: %v; want a permanent error", err)
	}
	if err := result(t, results[3]); err == nil || transports.IsPermanent(err) {
		t.Errorf("the frame behind it: %v; want an error that a retry cures", err)
	}
	expect(t, inbox, "alice", 1, 2)
	if n := confirmed(t, results[:2]); n != 2 {
		t.Errorf("%d of the 2 frames before it are confirmed", n)
	}
	wait := meanwhile(t, func() { alice.flow(t, 3, 4) })
	expect(t, inbox, "alice", 3, 4)
	wait()
}

// sendHonoursContext has bob take nothing until the window is full, if there is one, and ends the context of the frame for which there
// is no room.
func sendHonoursContext(t T, b *bench) {
	const count = 200
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	if alice.pipelined() == nil {
		t.Skip(oneByOne)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := result(t, alice.stream().send(ended, frame("alice", 1))[0]); !isContextError(err) || transports.IsPermanent(err) {
		t.Errorf("sent with an ended context: %v", err)
	}
	all, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	bobs := alice.stream()
	var results []<-chan error
	for i := 1; i <= count; i++ {
		ctx, cancel := context.WithCancel(all)
		defer cancel()
		sent := make(chan []<-chan error, 1)
		go func() { sent <- bobs.send(ctx, frame("alice", i)) }()
		select {
		case r := <-sent:
			results = append(results, r...)
			continue
		case <-time.After(quiet):
		}
		cancel()
		select {
		case r := <-sent:
			if err := result(t, r[0]); !isContextError(err) || transports.IsPermanent(err) {
				t.Errorf("the frame for which there is no room: %v", err)
			}
		case <-time.After(patience):
			t.Fatal("a frame waits for room though its context has ended")
		}
		break
	}
	giveUp()
	took := confirmed(t, results)
	wait := meanwhile(t, func() { alice.flow(t, took+1, count) })
	expect(t, bob.subscribe(t, transports.Inbox), "alice", 1, count)
	wait()
}

// framesInFlightSurviveRestart takes the network away while frames are in flight.
func framesInFlightSurviveRestart(t T, b *bench) {
	const count, restarts = 3000, 3
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	if alice.pipelined() == nil {
		t.Skip(oneByOne)
	}
	inbox := bob.subscribe(t, transports.Inbox)
	wait := meanwhile(t, func() { alice.flow(t, 1, count) })
	const stretch = count / (restarts + 1)
	for done := 0; done < count; done += stretch {
		if done > 0 {
			b.stop()
			b.start()
		}
		expect(t, inbox, "alice", done+1, done+stretch)
	}
	wait()
}

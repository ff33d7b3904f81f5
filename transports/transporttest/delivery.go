package transporttest

import (
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

func framesArriveInOrder(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	inbox := bob.subscribe(t, transports.Inbox)
	const count = 200
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 1; i <= count && err == nil; i++ {
			err = alice.tryPublish(t.Context(), transports.Direct("bob"), frame("alice", i))
		}
		sent <- err
	}()
	expect(t, inbox, "alice", 1, count)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	nothing(t, inbox)
}

// takenInOrder acknowledges the second of two frames alone: whoever comes next begins with the first.
func takenInOrder(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	inbox := bob.subscribe(t, transports.Inbox)
	alice.publish(t, transports.Direct("bob"), frame("alice", 1), frame("alice", 2))
	first := receive(t, inbox)
	select {
	case second := <-inbox: // where several are handed out
		second.Ack()
	case <-time.After(quiet):
	}
	if n := numberOf(t, first, "alice"); n != 1 {
		t.Fatalf("frame %d came first", n)
	}
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, b.node(t, "bob").subscribe(t, transports.Inbox), "alice", 1, 2)
}

func nackedFrameComesBeforeLaterOnes(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	inbox := bob.subscribe(t, transports.Inbox)
	alice.publish(t, transports.Direct("bob"), frame("alice", 1), frame("alice", 2), frame("alice", 3))
	expect(t, inbox, "alice", 1, 1)
	for range 3 {
		m := receive(t, inbox)
		if n := numberOf(t, m, "alice"); n != 2 {
			t.Fatalf("frame %d came; want 2 again", n)
		}
		m.Nack()
	}
	expect(t, inbox, "alice", 2, 3)
}

func unackedFrameComesToTheNextSubscriber(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	inbox := bob.subscribe(t, transports.Inbox)
	alice.publish(t, transports.Direct("bob"), frame("alice", 1), frame("alice", 2))
	receive(t, inbox)
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, b.node(t, "bob").subscribe(t, transports.Inbox), "alice", 1, 2)
}

func absentReceiverGetsFramesLater(t T, b *bench) {
	alice := b.node(t, "alice")
	alice.publish(t, transports.Direct("bob"), frame("alice", 1)) // bob was never there
	bob := b.node(t, "bob")
	expect(t, bob.subscribe(t, transports.Inbox), "alice", 1, 1)
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	alice.publish(t, transports.Direct("bob"), frame("alice", 2), frame("alice", 3))
	expect(t, b.node(t, "bob").subscribe(t, transports.Inbox), "alice", 2, 3)
}

func absentFollowerGetsFramesLater(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob", "alice")
	feed := following(t, bob, alice)
	alice.publish(t, transports.Broadcast, frame("alice", 1))
	expect(t, feed, "alice", 1, 1)
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	alice.publish(t, transports.Broadcast, frame("alice", 2), frame("alice", 3))
	expect(t, b.node(t, "bob", "alice").subscribe(t, transports.Feed), "alice", 2, 3)
}

func frameSentTwiceArrivesOnce(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	inbox := bob.subscribe(t, transports.Inbox)
	alice.publish(t, transports.Direct("bob"), frame("alice", 1), frame("alice", 1), frame("alice", 2))
	for want := 1; want <= 2; want++ {
		m := receive(t, inbox)
		if n := numberOf(t, m, "alice"); n != want {
			t.Fatalf("frame %d came; want %d", n, want)
		}
		m.Ack()
	}
}

func sameUUIDToTwoPeersArrivesAtBoth(t T, b *bench) {
	alice, bob, carol := b.node(t, "alice"), b.node(t, "bob"), b.node(t, "carol")
	atBob, atCarol := bob.subscribe(t, transports.Inbox), carol.subscribe(t, transports.Inbox)
	alice.publish(t, transports.Direct("bob"), frame("alice", 1))
	alice.publish(t, transports.Direct("carol"), frame("alice", 1))
	expect(t, atBob, "alice", 1, 1)
	expect(t, atCarol, "alice", 1, 1)
}

func broadcastReachesFollowersOnly(t T, b *bench) {
	alice := b.node(t, "alice")
	bob, carol := b.node(t, "bob", "alice"), b.node(t, "carol", "dave", "alice", "carol")
	stranger, nobody := b.node(t, "stranger", "bob"), b.node(t, "nobody")
	atBob, atCarol := following(t, bob, alice), following(t, carol, alice)
	atStranger, atNobody := following(t, stranger, bob), nobody.subscribe(t, transports.Feed)
	alice.publish(t, transports.Broadcast, frame("alice", 1), frame("alice", 2))
	expect(t, withoutProbes(t, atBob), "alice", 1, 2)
	expect(t, withoutProbes(t, atCarol), "alice", 1, 2)
	nothing(t, withoutProbes(t, atStranger))
	nothing(t, atNobody)
}

func directReachesItsPeerOnly(t T, b *bench) {
	alice, bob, carol := b.node(t, "alice"), b.node(t, "bob", "alice"), b.node(t, "carol", "alice")
	atBob, atCarol := bob.subscribe(t, transports.Inbox), carol.subscribe(t, transports.Inbox)
	feed := carol.subscribe(t, transports.Feed)
	alice.publish(t, transports.Direct("bob"), frame("alice", 1))
	expect(t, atBob, "alice", 1, 1)
	nothing(t, atCarol)
	nothing(t, feed)
}

// withoutProbes leaves out the frames by which [following] has found that the feed flows.
func withoutProbes(t T, frames <-chan *message.Message) <-chan *message.Message {
	out := make(chan *message.Message)
	var running sync.WaitGroup
	running.Go(func() {
		defer close(out)
		for m := range frames {
			if m.Payload[len(m.Payload)-1] == '0' {
				m.Ack()
				continue
			}
			select {
			case out <- m:
			case <-t.Context().Done():
				return
			}
		}
	})
	t.Cleanup(running.Wait)
	return out
}

func manyOriginsKeepTheirOrders(t T, b *bench) {
	const origins, count = 4, 40
	bob := b.node(t, "bob")
	inbox := bob.subscribe(t, transports.Inbox)
	sent := make(chan error, origins)
	for i := range origins {
		origin := b.node(t, fmt.Sprintf("origin%d", i))
		go func() {
			var err error
			for n := 1; n <= count && err == nil; n++ {
				err = origin.tryPublish(t.Context(), transports.Direct("bob"), frame(origin.name, n))
			}
			sent <- err
		}()
	}
	last := map[string]int{}
	for received := 0; received < origins*count; {
		m := receive(t, inbox)
		var origin string
		var number int
		if _, err := fmt.Sscanf(string(m.Payload), "%s %d", &origin, &number); err != nil {
			t.Fatalf("frame %q", m.Payload)
		}
		if number > last[origin]+1 {
			t.Fatalf("frame %d of %s came after %d", number, origin, last[origin])
		}
		if number == last[origin]+1 {
			last[origin]++
			received++
		}
		m.Ack()
	}
	for range origins {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
}

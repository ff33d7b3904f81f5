package transporttest

import (
	"context"
	"time"

	"github.com/weft-relay/weft/transports"
)

func startsWithoutNetwork(t T, b *bench) {
	b.stop()
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	inbox := bob.subscribe(t, transports.Inbox)
	eventually(t, "the report says why there is no connection", func() bool {
		r := alice.Report()
		return r.State == transports.Connecting && r.Detail != ""
	})
	b.start()
	alice.publish(t, transports.Direct("bob"), frame("alice", 1))
	expect(t, inbox, "alice", 1, 1)
}

func publishWaitsForNetwork(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	inbox := bob.subscribe(t, transports.Inbox)
	alice.publish(t, transports.Direct("bob"), frame("alice", 1))
	expect(t, inbox, "alice", 1, 1)
	b.stop()

	ctx, cancel := context.WithTimeout(t.Context(), quiet)
	defer cancel()
	begun := time.Now()
	m := frame("alice", 2)
	m.SetContext(ctx)
	if err := alice.Publish(transports.Direct("bob"), m); err == nil || transports.IsPermanent(err) {
		t.Errorf("publish without a network: %v; want an error that a retry cures", err)
	}
	if took := time.Since(begun); took > quiet+5*time.Second {
		t.Errorf("publish returned %v after it began; its context allowed %v", took, quiet)
	}
	b.start()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		alice.retry(t, 2, 3)
	}()
	expect(t, inbox, "alice", 2, 3)
	<-sent
}

// retry publishes the frames from one number to another as a lane does: each until it is taken, and only then the next.
func (n *node) retry(t T, from, to int) {
	for i := from; i <= to && t.Context().Err() == nil; i++ {
		for t.Context().Err() == nil {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			m := frame(n.name, i)
			m.SetContext(ctx)
			err := n.Publish(transports.Direct("bob"), m)
			cancel()
			if err == nil {
				break
			}
			if transports.IsPermanent(err) {
				t.Errorf("frame %d: %v", i, err)
				return
			}
		}
	}
}

func nothingIsLostWhenNetworkRestarts(t T, b *bench) {
	const count, restarts = 3000, 3
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	inbox := bob.subscribe(t, transports.Inbox)
	restart, restarted := make(chan struct{}, restarts), make(chan struct{})
	go func() {
		defer close(restarted)
		for range restart {
			b.stop()
			b.start()
		}
	}()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		alice.retry(t, 1, count)
	}()
	const stretch = count / (restarts + 1)
	for done := 0; done < count; done += stretch {
		if done > 0 {
			restart <- struct{}{} // while the frames flow on
		}
		expect(t, inbox, "alice", done+1, done+stretch)
	}
	close(restart)
	<-sent
	<-restarted
}

func frameInHandSurvivesRestart(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	inbox := bob.subscribe(t, transports.Inbox)
	alice.publish(t, transports.Direct("bob"), frame("alice", 1), frame("alice", 2), frame("alice", 3))
	m := receive(t, inbox)
	b.stop()
	b.start()
	m.Ack()
	alice.publish(t, transports.Direct("bob"), frame("alice", 4))
	expect(t, inbox, "alice", 2, 4)
}

package transporttest

import (
	"context"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

// openDirectory returns the node's open directory, or nil where the transport has none.
func (n *node) openDirectory() transports.OpenDirectory {
	d, _ := n.Transport.(transports.OpenDirectory)
	return d
}

func showWishes(t T, n *node, filters ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.openDirectory().ShowWishes(ctx, append([]string{}, filters...)); err != nil {
		t.Fatalf("%s shows what it wants: %v", n.name, err)
	}
}

func watchWishes(t T, n *node) <-chan transports.Wishes {
	t.Helper()
	wishes, err := n.openDirectory().WatchWishes(t.Context())
	if err != nil {
		t.Fatalf("%s watches: %v", n.name, err)
	}
	return wishes
}

// seeWishes reads until the latest wishes of the node are the filters, in whatever order.
func seeWishes(t T, wishes <-chan transports.Wishes, name string, filters ...string) {
	t.Helper()
	slices.Sort(filters)
	deadline := time.After(patience)
	for {
		select {
		case w, ok := <-wishes:
			if !ok {
				t.Fatal("watch ended")
			}
			if w.Node == name && w.Filters != nil && slices.Equal(slices.Sorted(slices.Values(w.Filters)), filters) {
				return
			}
		case <-deadline:
			t.Fatalf("wishes %q of %s never seen", filters, name)
		}
	}
}

func openDirectoryShowsLatestWishes(t T, b *bench) {
	alice, bob := b.node(t, "alice", "bob", "carol"), b.node(t, "bob", "alice", "carol")
	if alice.openDirectory() == nil {
		t.Skip("it has no open directory")
	}
	atBob := watchWishes(t, bob)
	showWishes(t, alice, "doors/#", "a b/+/ü")
	seeWishes(t, atBob, "alice", "doors/#", "a b/+/ü")
	showWishes(t, alice)
	seeWishes(t, atBob, "alice") // wants nothing, and has said so
	showWishes(t, alice, "lamps/#")
	seeWishes(t, atBob, "alice", "lamps/#")
	showWishes(t, bob, "#")
	seeWishes(t, watchWishes(t, alice), "bob", "#")
	seeWishes(t, watchWishes(t, b.node(t, "carol", "alice", "bob")), "alice", "lamps/#") // who comes later

	ctx, cancel := context.WithCancel(t.Context())
	ended, err := bob.openDirectory().WatchWishes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	closed(t, ended)
	if err := bob.Close(); err != nil {
		t.Fatal(err)
	}
	closed(t, atBob)
}

func openDirectorySurvivesRestart(t T, b *bench) {
	alice, bob := b.node(t, "alice", "bob"), b.node(t, "bob", "alice")
	if alice.openDirectory() == nil {
		t.Skip("it has no open directory")
	}
	atBob := watchWishes(t, bob)
	showWishes(t, alice, "before")
	seeWishes(t, atBob, "alice", "before")
	b.stop()
	b.start()
	showWishes(t, alice, "after")
	seeWishes(t, atBob, "alice", "after")
}

// senderIsNamed checks that what the network authenticates is said of all that comes.
func senderIsNamed(t T, b *bench) {
	alice, bob := b.node(t, "alice", "bob"), b.node(t, "bob", "alice")
	if alice.openDirectory() == nil {
		t.Skip("the network authenticates no names")
	}
	inbox, feed := bob.subscribe(t, transports.Inbox), following(t, bob, alice)
	alice.publish(t, transports.Direct("bob"), frame("alice", 1))
	alice.publish(t, transports.Broadcast, frame("alice", 2))
	for _, frames := range []<-chan *message.Message{inbox, feed} {
		m := receive(t, frames)
		if got := m.Metadata[transports.MetaFrom]; got != "alice" {
			t.Errorf("frame %q came from %q", m.Payload, got)
		}
		m.Ack()
	}
}

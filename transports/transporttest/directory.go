package transporttest

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-relay/weft/transports"
)

// directory returns the node's directory, or nil where the transport keeps none.
func (n *node) directory() transports.Directory {
	d, _ := n.Transport.(transports.Directory)
	return d
}

func announce(t T, n *node, profile string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.directory().Announce(ctx, []byte(profile)); err != nil {
		t.Fatalf("%s announces: %v", n.name, err)
	}
}

func watchProfiles(t T, n *node) <-chan transports.Announcement {
	t.Helper()
	profiles, err := n.directory().Watch(t.Context())
	if err != nil {
		t.Fatalf("%s watches: %v", n.name, err)
	}
	return profiles
}

// see reads announcements until the latest of the node is the profile.
func see(t T, profiles <-chan transports.Announcement, name, profile string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case a, ok := <-profiles:
			if !ok {
				t.Fatal("watch ended")
			}
			if a.Node == name && string(a.Profile) == profile {
				return
			}
		case <-deadline:
			t.Fatalf("profile %q of %s never seen", profile, name)
		}
	}
}

func directoryShowsLatestProfiles(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	if alice.directory() == nil {
		t.Skip("it keeps no profiles")
	}
	atBob := watchProfiles(t, bob)
	for i := range 5 {
		announce(t, alice, fmt.Sprintf("a%d", i))
	}
	see(t, atBob, "alice", "a4")
	announce(t, bob, "b0")
	see(t, atBob, "bob", "b0")

	// Whoever comes later finds the latest of each.
	late := watchProfiles(t, b.node(t, "carol"))
	found := map[string]string{}
	for len(found) < 2 {
		select {
		case a := <-late:
			found[a.Node] = string(a.Profile)
		case <-time.After(patience):
			t.Fatalf("the directory shows %v", found)
		}
	}
	if found["alice"] != "a4" || found["bob"] != "b0" {
		t.Errorf("the directory shows %v", found)
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended, err := bob.directory().Watch(ctx)
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

func directorySurvivesRestart(t T, b *bench) {
	alice, bob := b.node(t, "alice"), b.node(t, "bob")
	if alice.directory() == nil {
		t.Skip("it keeps no profiles")
	}
	atBob := watchProfiles(t, bob)
	announce(t, alice, "before")
	see(t, atBob, "alice", "before")
	b.stop()
	b.start()
	announce(t, alice, "after")
	see(t, atBob, "alice", "after")
	announce(t, bob, "other")
	see(t, watchProfiles(t, b.node(t, "carol")), "bob", "other")
}

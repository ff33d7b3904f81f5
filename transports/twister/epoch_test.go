package twister_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// Both nodes are started in one second, have posted as much, and owe each other a receipt for as much, in one second again. Daemons keep one
// of two messages that are alike: does each have its receipt?
func TestReceiptsOfNodesThatWereStartedTogetherAreNotAlike(t *testing.T) {
	w := newWorld(t, twistertest.Options{Now: func() time.Time { return time.Unix(1795331070, 0) }}, "alice", "bob")
	nodes := map[string]*twister.Transport{}
	patient := func(c *twister.Config) { c.ResendAfter = time.Hour }
	for _, user := range w.users {
		dir := filepath.Join(w.dirs, user)
		require.NoError(t, os.MkdirAll(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "epoch.json"), []byte(`{"epoch": 4000000000}`), 0o600))
		nodes[user] = w.node(t, user, patient)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	published := make(chan error, 2)
	for user, peer := range map[string]string{"alice": "bob", "bob": "alice"} {
		go func() {
			m := frame(1)
			m.SetContext(ctx)
			if err := nodes[user].Publish(transports.Direct(peer), m); err != nil {
				published <- fmt.Errorf("%s: %w", user, err)
				return
			}
			published <- nil
		}()
		require.Eventually(t, func() bool { return len(w.posts(t, user)) == 1 }, patience, time.Millisecond)
	}
	for _, user := range w.users { // nobody has taken a frame before, so that the receipts ride on none
		gatherFrom(subscribe(t, nodes[user]))
	}
	for range w.users {
		require.NoError(t, <-published)
	}
}

// Three nodes that are started together, and send each other the same at the same time. Does every frame have its receipt at once?
func TestFramesOfNodesThatWereStartedTogetherWaitForNoOther(t *testing.T) {
	const count = 10
	w := newWorld(t, twistertest.Options{}, "alice", "bob", "carol")
	patient := func(c *twister.Config) { c.ResendAfter = time.Hour }
	nodes := map[string]*twister.Transport{}
	for _, user := range w.users {
		nodes[user] = w.node(t, user, patient)
		gatherFrom(subscribe(t, nodes[user]))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var ways []chan error
	for user, n := range nodes {
		for peer := range nodes {
			if peer == user {
				continue
			}
			done := make(chan error, 1)
			ways = append(ways, done)
			go func() {
				for i := range count {
					m := frame(i)
					m.SetContext(ctx)
					if err := n.Publish(transports.Direct(peer), m); err != nil {
						done <- fmt.Errorf("frame %d of %s: %w", i, user, err)
						return
					}
				}
				done <- nil
			}()
		}
	}
	for _, done := range ways {
		require.NoError(t, <-done)
	}
}

// The same of messages in the seed's format, such as two sites send that both say that they are there.
func TestSeedsMessagesOfTwoUsersAreNotAlike(t *testing.T) {
	w := newWorld(t, twistertest.Options{Now: func() time.Time { return time.Unix(1795331070, 0) }}, "alice", "bob")
	seed := func(c *twister.Config) { c.Format = "seed" }
	alice, bob := w.node(t, "alice", seed), w.node(t, "bob", seed)
	atAlice, atBob := subscribe(t, alice), subscribe(t, bob)
	here := func() *message.Message {
		m := message.NewMessage("here", []byte("online"))
		m.Metadata.Set(transports.MetaTopic, "state")
		return m
	}
	publish(t, alice, "bob", here())
	receive(t, atBob).Ack()
	publish(t, bob, "alice", here())
	receive(t, atAlice).Ack()
	require.Equal(t, w.posts(t, "alice")[0].K, w.posts(t, "bob")[0].K)
}

package twister_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

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

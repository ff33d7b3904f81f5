package twister_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// Two that number the posts of one user lose each other's.
func TestStateIsOfOneTransportAtATime(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	first, second := w.transport(t, "alice"), w.transport(t, "alice")
	require.NoError(t, first.Start(t.Context()))
	require.ErrorContains(t, second.Start(t.Context()), "in use by another transport of this user")
	require.NoError(t, second.Close())
	require.NoError(t, first.Close())
	require.NoError(t, second.Start(t.Context()))
	require.NoError(t, second.Close())
}

// What one user has posted says nothing of another's posts.
func TestOtherUserInTheSameFolderBeginsAnew(t *testing.T) {
	w := newWorld(t, twistertest.Options{}, "alice", "bob")
	dir := filepath.Join(w.dirs, "alice")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "poster.json"), []byte(`{"next": 100000}`), 0o600)) // more than blocks allow
	bob := w.node(t, "bob", func(c *twister.Config) { c.Receipts = "off" })
	publish(t, bob, "alice", frame(1))
	require.Equal(t, 1, budget(bob).Used)
}

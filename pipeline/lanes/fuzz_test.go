package lanes_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/lanes"
)

// Whatever is in a segment, the store opens, gives out what it counts, and works.
func FuzzSegment(f *testing.F) {
	dir := f.TempDir()
	s := open(f, dir, lanes.Options{})
	put(f, s, 0, 3, 1, s.Lane("a", lanes.Limits{}))
	s.PutPacket(1, uuid(1, 1), []byte("packet"))
	s.SetDone("bob", 1, 7, 2)
	s.SetSubscriptions(map[string]byte{"a/#": 2})
	require.NoError(f, s.Close())
	path := segments(f, dir)[0]
	file, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(file, false)
	f.Add(file[:len(file)/2], false)
	f.Add(file[:44], true)
	f.Fuzz(func(t *testing.T, file []byte, mend bool) {
		dir := t.TempDir()
		name := filepath.Base(path)
		if mend { // make the checksums fit, so that what is inside is read too
			lanes.Mend(file, name)
		}
		require.NoError(t, os.Mkdir(filepath.Join(dir, "journal"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "journal", name), file, 0o600))
		s, err := lanes.Open(dir, lanes.Options{}, slog.New(slog.DiscardHandler))
		if err != nil {
			require.ErrorContains(t, err, "this version of weft reads")
			return
		}
		defer func() { require.NoError(t, s.Close()) }()
		l := s.Lane("a", lanes.Limits{})
		drain(t, l)
		packets(s)
		sent := put(t, s, 0, 2, 1, l)
		require.Equal(t, sent, take(t, l, 2))
	})
}

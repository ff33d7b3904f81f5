package feedlog_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

// Whatever is in a segment, whether it is the last or not, the log opens, gives out what it says it has, and works.
func FuzzSegment(f *testing.F) {
	dir := f.TempDir()
	l := open(f, dir, feedlog.Limits{})
	fill(f, l, 3)
	_, err := l.Append(record(4), record(5))
	require.NoError(f, err)
	require.NoError(f, l.Close())
	file, err := os.ReadFile(segments(f, dir)[0])
	require.NoError(f, err)
	mark, err := os.ReadFile(filepath.Join(dir, "mark"))
	require.NoError(f, err)
	f.Add(file, mark, false, false)
	f.Add(file[:len(file)/2], mark, true, false)
	f.Add(file[:len(file)-3], mark[:40], false, true)
	f.Add([]byte("weftfeed"), []byte{}, true, true)
	f.Fuzz(func(t *testing.T, file, mark []byte, mend, more bool) {
		dir := scratch(t)
		if mend {
			file = bytes.Clone(file)
			feedlog.Mend(file, 1)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "0000000000000001.seg"), file, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "mark"), mark, 0o600))
		if more {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "0000000000000006.seg"), file, 0o600))
		}
		l, err := feedlog.Open(dir, feedlog.Limits{}, slog.New(slog.DiscardHandler))
		if err != nil {
			require.ErrorContains(t, err, "this version of weft reads")
			return
		}
		first, next := l.First(), l.Next()
		number := first
		for ; number < next; number++ {
			if _, err := l.Read(number); err != nil {
				require.ErrorIs(t, err, feedlog.ErrNotYet)
				first = next
				break
			}
		}
		added, err := l.Append([]byte("added"))
		require.NoError(t, err)
		require.Equal(t, next, added)
		require.NoError(t, l.Close())
		l = open(t, dir, feedlog.Limits{})
		require.Equal(t, first, l.First())
		require.Equal(t, next+1, l.Next())
		got, err := l.Read(added)
		require.NoError(t, err)
		require.Equal(t, "added", string(got))
		require.NoError(t, l.Close())
	})
}

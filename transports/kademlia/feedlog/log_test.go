package feedlog_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

func open(t testing.TB, dir string, limits feedlog.Limits) *feedlog.Log {
	t.Helper()
	l, err := feedlog.Open(dir, limits, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// scratch returns a folder in memory, where there is one, for tests that open thousands of logs: to sync them is nothing there.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "weft-feedlog")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// record is what the tests append under a number, from 1 byte to some hundred.
func record(number uint64) []byte {
	return append([]byte(fmt.Sprint(number)), bytes.Repeat([]byte{'.'}, int(number*number%97))...)
}

// fill appends the next n records, each by itself.
func fill(t testing.TB, l *feedlog.Log, n int) {
	t.Helper()
	for range n {
		number := l.Next()
		first, err := l.Append(record(number))
		require.NoError(t, err)
		require.Equal(t, number, first)
	}
}

// requireRun checks that the log has the records from first up to next, and none beyond.
func requireRun(t testing.TB, l *feedlog.Log, first, next uint64) {
	t.Helper()
	require.Equal(t, first, l.First())
	require.Equal(t, next, l.Next())
	for number := first; number < next; number++ {
		got, err := l.Read(number)
		require.NoError(t, err)
		require.Equal(t, record(number), got)
	}
	_, err := l.Read(first - 1)
	require.ErrorIs(t, err, feedlog.ErrGone)
	_, err = l.Read(next)
	require.ErrorIs(t, err, feedlog.ErrNotYet)
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	require.NoError(t, err)
	return paths
}

func TestNumbersGoOnAfterReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	l := open(t, dir, feedlog.Limits{})
	requireRun(t, l, 1, 1)
	for round := range 5 {
		fill(t, l, 20)
		first, err := l.Append(record(l.Next()), record(l.Next()+1), record(l.Next()+2))
		require.NoError(t, err)
		require.Equal(t, l.Next()-3, first)
		requireRun(t, l, 1, uint64(round*23+24))
		require.NoError(t, l.Close())
		l = open(t, dir, feedlog.Limits{})
		requireRun(t, l, 1, uint64(round*23+24))
	}
	require.Len(t, segments(t, dir), 1)
	info, err := os.Stat(segments(t, dir)[0])
	require.NoError(t, err)
	require.Equal(t, info.Size(), l.Size())
}

func TestResetOutlivesARestart(t *testing.T) {
	for _, next := range []uint64{1, 5, 21, 1000} {
		t.Run(fmt.Sprint(next), func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, feedlog.Limits{Bytes: 2000})
			fill(t, l, 20)
			changed := l.Changed()
			require.NoError(t, l.Reset(next))
			<-changed
			require.Zero(t, l.Size())
			require.Empty(t, segments(t, dir))
			requireRun(t, l, next, next)
			require.NoError(t, l.Close())
			l = open(t, dir, feedlog.Limits{})
			requireRun(t, l, next, next)
			fill(t, l, 3)
			require.NoError(t, l.Close())
			requireRun(t, open(t, dir, feedlog.Limits{}), next, next+3)
		})
	}
}

package feedlog_test

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

func TestOldestRecordsGoWhenThereAreTooManyBytes(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, feedlog.Limits{Bytes: 8000})
	for range 300 {
		fill(t, l, 1)
		require.LessOrEqual(t, l.Size(), int64(8000))
	}
	require.Greater(t, l.Size(), int64(6000), "by eighths")
	require.Less(t, len(segments(t, dir)), 10)
	first := l.First()
	require.Greater(t, first, uint64(100))
	requireRun(t, l, first, 301)
	require.NoError(t, l.Close())
	l = open(t, dir, feedlog.Limits{Bytes: 2000})
	require.LessOrEqual(t, l.Size(), int64(2000), "a smaller limit counts from Open on")
	requireRun(t, l, l.First(), 301)
	_, err := l.Append(make([]byte, 5000))
	require.NoError(t, err)
	require.Equal(t, uint64(301), l.First(), "the newest stays, however large")
	require.Zero(t, l.Damage())
}

func TestOldRecordsGoAtAppendAndAtOpen(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		limits := feedlog.Limits{Age: 8 * time.Hour}
		l := open(t, dir, limits)
		for number := uint64(1); number <= 100; number++ { // two an hour
			fill(t, l, 1)
			kept := min(number, 16)
			require.GreaterOrEqual(t, number+1-l.First(), kept)
			require.LessOrEqual(t, number+1-l.First(), kept+4, "by eighths")
			time.Sleep(30 * time.Minute)
		}
		require.Less(t, len(segments(t, dir)), 12)
		require.NoError(t, l.Close())
		time.Sleep(4 * time.Hour)
		l = open(t, dir, limits)
		require.InDelta(t, 93, l.First(), 4)
		requireRun(t, l, l.First(), 101)
		require.NoError(t, l.Close())
		time.Sleep(1000 * time.Hour)
		l = open(t, dir, limits)
		require.LessOrEqual(t, uint64(101)-l.First(), uint64(3), "the newest stays, and what shares its segment")
		require.Greater(t, l.Next(), l.First())
		fill(t, l, 1)
		requireRun(t, l, 101, 102)
		require.NoError(t, l.Close())
	})
}

func TestRecordsHaveOneByteTo64MiB(t *testing.T) {
	l := open(t, t.TempDir(), feedlog.Limits{})
	for _, size := range []int{0, feedlog.MaxRecord + 1} {
		_, err := l.Append([]byte("a"), make([]byte, size))
		require.ErrorIs(t, err, feedlog.ErrRecordSize)
	}
	require.Equal(t, uint64(1), l.Next())
	for i, size := range []int{1, 4 << 10, 4<<10 - 24, feedlog.MaxRecord, 2} {
		large := make([]byte, size)
		large[size-1] = byte(i + 1)
		first, err := l.Append(large)
		require.NoError(t, err)
		got, err := l.Read(first)
		require.NoError(t, err)
		require.Len(t, got, size)
		require.Equal(t, byte(i+1), got[size-1])
	}
	first, err := l.Append()
	require.NoError(t, err)
	require.Equal(t, uint64(6), first)
	require.Error(t, l.Reset(0))
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, feedlog.Limits{})
	_, err := feedlog.Open(dir, feedlog.Limits{}, nil)
	require.ErrorContains(t, err, "is in use by another process")
	require.NoError(t, l.Close())
	open(t, dir, feedlog.Limits{})
}

func TestClosedLogSaysSo(t *testing.T) {
	l := open(t, t.TempDir(), feedlog.Limits{})
	fill(t, l, 3)
	changed := l.Changed()
	require.NoError(t, l.Close())
	<-changed
	<-l.Changed()
	require.NoError(t, l.Close())
	_, err := l.Append([]byte("a"))
	require.ErrorIs(t, err, feedlog.ErrClosed)
	_, err = l.Read(1)
	require.ErrorIs(t, err, feedlog.ErrClosed)
	require.ErrorIs(t, l.Reset(1), feedlog.ErrClosed)
}

func TestNewerFormatIsRefusedAndKept(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, feedlog.Limits{})
	fill(t, l, 1)
	require.NoError(t, l.Close())
	path := segments(t, dir)[0]
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	feedlog.SetVersion(file, 2)
	require.NoError(t, os.WriteFile(path, file, 0o600))
	_, err = feedlog.Open(dir, feedlog.Limits{}, nil)
	require.ErrorContains(t, err, "has format 2, this version of weft reads 1")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, file, after)
}

package lanes_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
)

// hide makes a file one that can be opened and not read, until the function it returns is called.
func hide(t testing.TB, path string) (restore func()) {
	t.Helper()
	require.NoError(t, os.Rename(path, path+".hidden"))
	require.NoError(t, os.Mkdir(path, 0o700))
	return func() {
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.Rename(path+".hidden", path))
	}
}

// onRecord is a log that calls a function for each record.
type onRecord struct {
	slog.Handler
	call func(slog.Record)
}

func (h onRecord) Handle(_ context.Context, r slog.Record) error {
	h.call(r)
	return nil
}

func (onRecord) Enabled(context.Context, slog.Level) bool { return true }

func TestMessagesWaitWhileTheDiskCannotBeRead(t *testing.T) {
	failed := make(chan struct{}, 100)
	log := slog.New(onRecord{slog.DiscardHandler, func(r slog.Record) {
		if strings.HasPrefix(r.Message, "journal cannot be read") {
			failed <- struct{}{}
		}
	}})
	dir := t.TempDir()
	s, err := lanes.Open(dir, lanes.Options{MemoryBytes: 1, SegmentBytes: 4 << 10}, log)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	l := s.Lane("a", lanes.Limits{})
	var sent []frame.Message
	for n := 0; n < 300; n += 10 {
		sent = append(sent, put(t, s, n, 10, 1, l)...)
	}
	restore := hide(t, segments(t, dir)[0])
	require.Equal(t, 300, l.Stats().Depth)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = l.Next(ctx, 1, 1<<20)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	l.SetLimits(lanes.Limits{Bytes: 100, WhenFull: lanes.DropOldest})
	err = s.Append(ctx, []lanes.Entry{{Message: message(300, 1), Lanes: []*lanes.Lane{l}}})
	require.ErrorIs(t, err, context.DeadlineExceeded, "the oldest cannot be looked at")
	l.SetLimits(lanes.Limits{})
	require.Len(t, failed, 1, "said once")
	restore()
	require.Equal(t, sent, take(t, l, 300))
	require.Empty(t, l.Stats().Dropped)
}

func TestStartFailsWhenTheJournalCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, lanes.Options{})
	sent := put(t, s, 0, 10, 1, s.Lane("a", lanes.Limits{}))
	require.NoError(t, s.Close())
	path := segments(t, dir)[0]
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.WriteString("torn")
	require.NoError(t, err)
	require.NoError(t, f.Close())

	var restore func()
	log := slog.New(onRecord{slog.DiscardHandler, func(r slog.Record) {
		if strings.HasPrefix(r.Message, "an unfinished record at the end ") { // after the first of the two times that it is read
			restore = hide(t, path)
		}
	}})
	_, err = lanes.Open(dir, lanes.Options{}, log)
	require.ErrorContains(t, err, "data_dir "+dir+": journal cannot be read: read "+path)
	restore()
	require.Equal(t, sent, drain(t, open(t, dir, lanes.Options{}).Lane("a", lanes.Limits{})))
}

func TestNumbersGoOnAfterThoseThatARestoredDirectoryForgot(t *testing.T) {
	dir := t.TempDir()
	last := uint64(0)
	boot := func(dir string, at time.Time) {
		t.Helper()
		s := open(t, dir, lanes.Options{}.At(at))
		seq := put(t, s, 0, 1, 1, s.Lane("a", lanes.Limits{}))[0].Seq
		require.NoError(t, s.Close())
		require.Greater(t, seq, last)
		last = seq
	}
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	boot(dir, time.Unix(0, 0)) // a machine that does not know the time yet
	boot(dir, now)
	backup := copyDir(t, dir)
	boot(dir, now.Add(time.Minute))
	boot(dir, now.Add(time.Minute)) // again in the same minute
	boot(backup, now.Add(time.Hour))
	boot(backup, time.Unix(0, 0)) // the clock is lost
	boot(backup, now.AddDate(100, 0, 0))
	require.Less(t, last>>40, uint64(1<<20), "a clock far ahead uses up no boots")
}

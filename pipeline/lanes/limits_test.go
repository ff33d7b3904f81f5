package lanes_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
)

func eventually(t testing.TB, ok func() bool, what string) {
	t.Helper()
	require.Eventually(t, ok, 10*time.Second, time.Millisecond, what)
}

func TestAppendWaitsWhileALaneThatBlocksIsFull(t *testing.T) {
	s := open(t, t.TempDir(), lanes.Options{})
	full, other := s.Lane("full", lanes.Limits{Bytes: 200}), s.Lane("other", lanes.Limits{})
	put(t, s, 0, 4, 1, full) // 4 messages of 36 bytes
	entries := make([]lanes.Entry, 3)
	for i := range entries {
		entries[i] = lanes.Entry{Message: message(4+i, 1), Lanes: []*lanes.Lane{full}}
	}
	stored := make(chan error, 1)
	go func() { stored <- s.Append(t.Context(), entries) }()
	eventually(t, func() bool { return full.Stats().Depth == 5 }, "the first one fits")
	put(t, s, 10, 3, 1, other)
	put(t, s, 13, 1, 0, full) // QoS 0 waits for nothing
	select {
	case err := <-stored:
		t.Fatal("stored beyond the limit", err)
	default:
	}
	full.Ack(take(t, full, 2)[1].Seq)
	require.NoError(t, <-stored)
	require.Equal(t, 6, full.Stats().Depth)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	late := []lanes.Entry{{Message: message(20, 1), Lanes: []*lanes.Lane{full}}}
	require.ErrorIs(t, s.Append(ctx, late), context.Canceled)
	require.Zero(t, late[0].Message.Seq)
}

func TestQoS0IsBoundedAndTheOldestGoesFirst(t *testing.T) {
	s := open(t, t.TempDir(), lanes.Options{QoS0Bytes: 10 << 10})
	l, reader := s.Lane("a", lanes.Limits{}), s.Lane("reader", lanes.Limits{})
	kept := put(t, s, 0, 1, 1, l)
	for n := range 1000 {
		put(t, s, n, 1, 0, l, reader)
		reader.Ack(take(t, reader, 1)[0].Seq)
	}
	st := l.Stats()
	require.Equal(t, uint64(1001), st.In)
	require.Equal(t, uint64(1001), uint64(st.Depth)+st.Dropped[lanes.ReasonQoS0])
	require.Less(t, st.Depth, 100)
	got := drain(t, l)
	require.Equal(t, kept[0], got[0], "QoS 1 is not touched")
	require.Equal(t, 999, number(got[len(got)-1]))
	require.Equal(t, lanes.Stats{In: 1000, Delivered: 1000}, reader.Stats())
	require.NoError(t, s.Append(t.Context(), []lanes.Entry{{Message: frame.Message{Payload: make([]byte, 20<<10)}, Lanes: []*lanes.Lane{l}}}))
	require.Equal(t, uint64(1), l.Stats().Dropped[lanes.ReasonTooLarge])
}

func TestWhatIsTooOldIsDroppedWhetherItIsReadOrNot(t *testing.T) {
	s := open(t, t.TempDir(), lanes.Options{FlushPeriod: time.Millisecond})
	old := message(0, 1)
	old.Time = time.Now().Add(-time.Hour)
	limits := lanes.Limits{Age: time.Minute}
	read, unread := s.Lane("read", limits), s.Lane("unread", lanes.Limits{Age: time.Minute, Bytes: 60})
	require.NoError(t, s.Append(t.Context(), []lanes.Entry{
		{Message: old, Lanes: []*lanes.Lane{read, unread}}, {Message: message(1, 1), Lanes: []*lanes.Lane{read}},
	}))
	require.Equal(t, 1, number(take(t, read, 1)[0]))
	require.Equal(t, map[string]uint64{lanes.ReasonAge: 1}, read.Stats().Dropped)
	put(t, s, 2, 1, 1, unread) // has room only when the collector has been there
	require.Equal(t, 2, number(take(t, unread, 1)[0]))
}

func TestMoreFillsABatchAndNeverBeyondItsBytes(t *testing.T) {
	s := open(t, t.TempDir(), lanes.Options{})
	l := s.Lane("a", lanes.Limits{})
	sent := put(t, s, 10, 4, 1, l)
	size := lanes.Size(&sent[0])
	first, err := l.Next(t.Context(), 10, 2*size+1)
	require.NoError(t, err)
	require.Equal(t, sent[:2], first)
	require.Empty(t, l.More(t.Context(), 10, size-1), "does not fit")
	require.Equal(t, sent[2:], l.More(t.Context(), 10, 1<<20))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	require.Empty(t, l.More(ctx, 10, 1<<20), "nothing comes")
	more := make(chan []frame.Message)
	go func() { more <- l.More(t.Context(), 10, 1<<20) }()
	late := put(t, s, 20, 1, 1, l)
	require.Equal(t, late, <-more)
	big := put(t, s, 30, 1, 1, l)
	alone, err := l.Next(t.Context(), 10, 1)
	require.NoError(t, err)
	require.Equal(t, big, alone, "larger than the cap goes alone")
}

func TestRemovedLaneIsEmptyWhenItComesBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, lanes.Options{})
	a, b := s.Lane("a", lanes.Limits{}), s.Lane("b", lanes.Limits{})
	put(t, s, 0, 10, 1, a, b)
	st := s.Remove("a")
	require.Equal(t, lanes.Stats{In: 10, Dropped: map[string]uint64{lanes.ReasonRemoved: 10}}, st)
	_, err := a.Next(t.Context(), 1, 1)
	require.ErrorIs(t, err, lanes.ErrClosed)
	put(t, s, 10, 1, 1, a, b) // a caller that has not heard of it yet
	require.Equal(t, lanes.Stats{}, s.Lane("a", lanes.Limits{}).Stats())
	require.NoError(t, s.Close())
	s = open(t, dir, lanes.Options{})
	require.Equal(t, []string{"a", "b"}, s.Orphans())
	require.Equal(t, lanes.Stats{}, s.Lane("a", lanes.Limits{}).Stats())
	require.Len(t, drain(t, s.Lane("b", lanes.Limits{})), 11)
}

func TestReaderIsToldThatTheStoreCloses(t *testing.T) {
	s := open(t, t.TempDir(), lanes.Options{})
	l := s.Lane("a", lanes.Limits{Bytes: 50})
	put(t, s, 0, 1, 1, l)
	take(t, l, 1)
	errs := make(chan error)
	go func() { _, err := l.Next(context.Background(), 1, 1); errs <- err }()
	go func() {
		errs <- s.Append(context.Background(), []lanes.Entry{{Message: message(1, 1), Lanes: []*lanes.Lane{l}}})
	}()
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-errs, lanes.ErrClosed)
	require.ErrorIs(t, <-errs, lanes.ErrClosed)
}

func diskUse(t testing.TB, dir string) (n int64) {
	t.Helper()
	for _, path := range segments(t, dir) {
		if info, err := os.Stat(path); err == nil {
			n += info.Size()
		}
	}
	return n
}

// A peer is away and few messages are for it: does the disk hold those few, and not all that went by?
func TestDiskUseFollowsWhatIsQueued(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, lanes.Options{SegmentBytes: 32 << 10, FlushPeriod: time.Millisecond})
	live, absent := s.Lane("live", lanes.Limits{}), s.Lane("absent", lanes.Limits{})
	var waiting []frame.Message
	for n := 0; n < 20000; n += 100 {
		waiting = append(waiting, put(t, s, n, 1, 1, live, absent)...)
		put(t, s, n+1, 99, 1, live)
		live.Ack(take(t, live, 100)[99].Seq)
	}
	eventually(t, func() bool { return diskUse(t, dir) < 100<<10 }, "1.2 MB went by")
	require.Equal(t, waiting[:50], take(t, absent, 50))
	absent.Ack(waiting[49].Seq)
	require.NoError(t, s.Close())
	s = open(t, dir, lanes.Options{})
	require.Equal(t, waiting[50:], drain(t, s.Lane("absent", lanes.Limits{})))
}

// When everything has left its lane, is what the store remembers still there, whenever the process dies?
func TestAccountOutlivesTheMessages(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, lanes.Options{SegmentBytes: 2 << 10, FlushPeriod: time.Millisecond})
	s.Receive(7)
	l := s.Lane("a", lanes.Limits{})
	for n := range 60 {
		put(t, s, n, 1, 1, l)
		l.Ack(take(t, l, 1)[0].Seq)
		crashed := open(t, copyDir(t, dir), lanes.Options{})
		require.Equal(t, uint64(n+1), crashed.Lane("a", lanes.Limits{}).Stats().In)
		require.True(t, crashed.Received(7))
		require.NoError(t, crashed.Close())
	}
}

// Does the log say what was dropped once, and not again at every start?
func TestDropsAreLoggedOnceAcrossARestart(t *testing.T) {
	dir := t.TempDir()
	var logs [2]bytes.Buffer
	for i := range logs {
		s, err := lanes.Open(dir, lanes.Options{FlushPeriod: time.Millisecond}, slog.New(slog.NewTextHandler(&logs[i], nil)))
		require.NoError(t, err)
		if i == 0 {
			put(t, s, 0, 3, 1, s.Lane("a", lanes.Limits{Bytes: 100, WhenFull: lanes.DropNew}))
		}
		require.NoError(t, s.Close())
	}
	require.Contains(t, logs[0].String(), "messages dropped")
	require.NotContains(t, logs[1].String(), "messages dropped")
}

// A message is acknowledged, and the next write ends a segment of the journal before anything else records that. Is it recorded when the
// store is closed?
func TestAcknowledgementIsRecordedThoughASegmentEndsBefore(t *testing.T) {
	dir := t.TempDir()
	opts := lanes.Options{SegmentBytes: 4 << 10, FlushPeriod: time.Hour}
	s := open(t, dir, opts)
	a, b := s.Lane("a", lanes.Limits{}), s.Lane("b", lanes.Limits{})
	a.Ack(put(t, s, 0, 1, 1, a)[0].Seq) // nothing: it was not read
	a.Ack(take(t, a, 1)[0].Seq)
	put(t, s, 1, 200, 1, b)
	require.NoError(t, s.Close())
	s = open(t, dir, opts)
	require.Equal(t, lanes.Stats{In: 1, Delivered: 1}, s.Lane("a", lanes.Limits{}).Stats())
}

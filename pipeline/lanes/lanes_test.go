package lanes_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
)

func open(t testing.TB, dir string, opts lanes.Options) *lanes.Store {
	t.Helper()
	s, err := lanes.Open(dir, opts, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func message(n int, qos byte) frame.Message {
	return frame.Message{
		Time: time.Now().Truncate(time.Millisecond), Topic: fmt.Sprintf("t/%d", n%3),
		Payload: fmt.Appendf(nil, "message %d", n), QoS: qos, Retain: n%2 == 0,
	}
}

// put appends messages from first on, one batch, and returns them as they were stored.
func put(t testing.TB, s *lanes.Store, first, count int, qos byte, due ...*lanes.Lane) []frame.Message {
	t.Helper()
	entries := make([]lanes.Entry, count)
	for i := range entries {
		entries[i] = lanes.Entry{Message: message(first+i, qos), Lanes: due}
	}
	require.NoError(t, s.Append(t.Context(), entries))
	out := make([]frame.Message, count)
	for i := range entries {
		out[i] = entries[i].Message
	}
	return out
}

// take reads exactly count messages.
func take(t testing.TB, l *lanes.Lane, count int) (out []frame.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for len(out) < count {
		msgs, err := l.Next(ctx, count-len(out), 1<<20)
		require.NoError(t, err)
		out = append(out, msgs...)
	}
	return out
}

func TestMessagesComeOutAsTheyWentInOncePerLane(t *testing.T) {
	s := open(t, t.TempDir(), lanes.Options{})
	a, b := s.Lane("a", lanes.Limits{}), s.Lane("b", lanes.Limits{})
	both := put(t, s, 0, 10, 1, a, b)
	mixed := put(t, s, 10, 1, 0, a)
	last := put(t, s, 11, 5, 2, a)
	want := append(append(both, mixed...), last...)
	require.Equal(t, want, take(t, a, 16))
	require.Equal(t, both, take(t, b, 10))
	a.Ack(want[15].Seq)
	require.Equal(t, lanes.Stats{In: 16, Delivered: 16}, a.Stats())
	st := b.Stats()
	require.Equal(t, 10, st.InFlight)
	require.Equal(t, uint64(10), st.In)
}

func TestWhatIsQueuedSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, lanes.Options{})
	a := s.Lane("a", lanes.Limits{})
	sent := put(t, s, 0, 100, 1, a)
	epoch := s.Epoch()
	a.Ack(take(t, a, 30)[29].Seq)
	take(t, a, 20) // in flight, never acknowledged
	put(t, s, 100, 5, 0, a)
	require.NoError(t, s.Close())

	s = open(t, dir, lanes.Options{})
	require.Equal(t, epoch, s.Epoch())
	require.Equal(t, []string{"a"}, s.Orphans())
	a = s.Lane("a", lanes.Limits{})
	require.Empty(t, s.Orphans())
	require.Equal(t, sent[30:], take(t, a, 70))
	st := a.Stats()
	require.Equal(t, uint64(105), st.In)
	require.Equal(t, uint64(30), st.Delivered)
	require.Equal(t, map[string]uint64{lanes.ReasonRestart: 5}, st.Dropped)
	next := put(t, s, 200, 1, 1, a)
	require.Greater(t, next[0].Seq, sent[99].Seq)
}

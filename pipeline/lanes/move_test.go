package lanes_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
)

// places returns the payloads in both lanes of what is on the disk now.
func places(t *testing.T, dir string, opts lanes.Options) (from, to []string) {
	t.Helper()
	crashed := t.TempDir()
	copyInto(t, crashed, dir)
	s, err := lanes.Open(crashed, opts, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	from, to = payloads(drain(t, s.Lane("from", lanes.Limits{}))), payloads(drain(t, s.Lane("to", lanes.Limits{})))
	require.NoError(t, s.Close())
	return from, to
}

func payloads(msgs []frame.Message) (texts []string) {
	texts = []string{}
	for _, m := range msgs {
		texts = append(texts, string(m.Payload))
	}
	return texts
}

// Messages go from one lane to another in any order. Is each in exactly one of them, whenever the process is killed, and are those that
// were kept back in their old order?
func TestMessageIsInOneOfTwoLanesWheneverTheProcessIsKilled(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r, dir := rand.New(rand.NewPCG(seed, 2)), t.TempDir()
			opts := lanes.Options{SegmentBytes: 8 << 10, MemoryBytes: 4 << 10, FlushPeriod: time.Millisecond}
			s := open(t, dir, opts)
			from, to := s.Lane("from", lanes.Limits{}), s.Lane("to", lanes.Limits{})
			staying, moved := []string{}, []string{}
			var flying []frame.Message
			for n := range 120 {
				switch r.IntN(8) {
				case 0, 1:
					staying = append(staying, payloads(put(t, s, 10*n, 1+r.IntN(5), 1, from))...)
				case 2:
					from.Rewind()
					flying = nil
				case 3:
					if rest := len(staying) - len(flying); rest > 0 {
						flying = append(flying, take(t, from, 1+r.IntN(rest))...)
					}
				default:
					var entries []lanes.Entry
					for range min(1+r.IntN(3), len(flying)) {
						i := r.IntN(len(flying))
						m := flying[i]
						flying = slices.Delete(flying, i, i+1)
						staying = slices.DeleteFunc(staying, func(p string) bool { return p == string(m.Payload) })
						moved = append(moved, string(m.Payload))
						entries = append(entries, lanes.Entry{Message: m, Lanes: []*lanes.Lane{to}, Source: from, Spent: m.Seq})
					}
					require.NoError(t, s.Append(t.Context(), entries))
				}
				require.Equal(t, len(staying), from.Stats().Depth)
				if n%4 == 0 {
					atFrom, atTo := places(t, dir, opts)
					require.Equal(t, staying, atFrom)
					require.Equal(t, moved, atTo)
				}
			}
		})
	}
}

// What leaves a lane in the middle is not read again, by whoever starts anew or after a restart.
func TestMessagesLeaveInAnyOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, lanes.Options{})
	l := s.Lane("from", lanes.Limits{})
	msgs := put(t, s, 0, 10, 2, l)
	take(t, l, 8)
	l.Leave([]uint64{msgs[1].Seq, msgs[2].Seq, msgs[5].Seq}, "unwanted")
	l.Leave([]uint64{msgs[3].Seq, msgs[9].Seq}, "unwanted") // the last one was not read
	l.Rewind()
	stay := []frame.Message{msgs[0], msgs[4], msgs[6], msgs[7], msgs[8], msgs[9]}
	require.Equal(t, stay, take(t, l, 6))
	require.Equal(t, map[string]uint64{"unwanted": 4}, l.Stats().Dropped)
	require.NoError(t, s.Close())
	s = open(t, dir, lanes.Options{})
	require.Equal(t, stay, drain(t, s.Lane("from", lanes.Limits{})))
}

// The disk is full when messages are to move, and the process is killed later. Is each in exactly one lane, whether the move was tried
// again or not?
func TestMessageIsInOneOfTwoLanesWhenTheDiskIsFull(t *testing.T) {
	for _, word := range []string{"move again", "move and give up"} {
		t.Run(word, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, lanes.Options{})
			put(t, s, 0, 1000, 1, s.Lane("from", lanes.Limits{}))
			require.NoError(t, s.Close())
			cmd, lines := child(t, word, dir)
			var moved int
			require.True(t, lines.Scan())
			_, err := fmt.Sscan(lines.Text(), &moved)
			require.NoError(t, err)
			require.NoError(t, cmd.Wait())
			s = open(t, dir, lanes.Options{})
			require.Equal(t, moved, len(drain(t, s.Lane("to", lanes.Limits{}))))
			rest := drain(t, s.Lane("from", lanes.Limits{}))
			require.Equal(t, 1000-moved, len(rest))
			require.Equal(t, moved, number(rest[0]))
		})
	}
}

// A message of another node is stored, and that its lane is done so far: both are there after a crash, or neither.
func TestMessageAndItsMarkAreOneTransaction(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, lanes.Options{FlushPeriod: time.Hour, SegmentBytes: 8 << 10})
	l := s.Lane("from", lanes.Limits{})
	for n := range 50 {
		id := lanes.ID{Origin: "bob", Lane: 7, Epoch: 3, Seq: uint64(100 + n)}
		require.NoError(t, s.Append(t.Context(), []lanes.Entry{{Message: message(n, 2), Lanes: []*lanes.Lane{l}, Done: id}}))
		done, _ := s.Done("bob", 7, 3)
		require.Equal(t, id.Seq, done)
		crashed := t.TempDir()
		copyInto(t, crashed, dir)
		again := open(t, crashed, lanes.Options{})
		done, _ = again.Done("bob", 7, 3)
		require.Equal(t, id.Seq, done)
		require.Len(t, drain(t, again.Lane("from", lanes.Limits{})), n+1)
	}
}

// What a message becomes is in memory only, and is there although the batch with which the message left could not be written. Has the
// message left for good?
func TestMessageThatBecameQoS0HasLeftThoughTheDiskFailed(t *testing.T) {
	dir := t.TempDir()
	opts := lanes.Options{SegmentBytes: 4 << 10, FlushPeriod: time.Hour}
	s := open(t, dir, opts)
	from, to, other := s.Lane("from", lanes.Limits{}), s.Lane("to", lanes.Limits{}), s.Lane("other", lanes.Limits{})
	put(t, s, 0, 1, 1, from)
	put(t, s, 1, 200, 1, other) // the segment is full
	m := take(t, from, 1)[0]
	require.NoError(t, os.Rename(filepath.Join(dir, "journal"), filepath.Join(dir, "away")))
	entry := lanes.Entry{Message: m, Lanes: []*lanes.Lane{to}, Source: from, Spent: m.Seq}
	entry.Message.QoS = 0
	require.NoError(t, s.Append(t.Context(), []lanes.Entry{entry}))
	require.Error(t, s.Append(t.Context(), []lanes.Entry{{Message: message(999, 1), Lanes: []*lanes.Lane{other}}}))
	require.NoError(t, os.Rename(filepath.Join(dir, "away"), filepath.Join(dir, "journal")))
	require.Len(t, take(t, to, 1), 1)
	put(t, s, 1000, 1, 1, other)
	require.NoError(t, s.Close())
	s = open(t, dir, opts)
	require.Equal(t, lanes.Stats{In: 1, Delivered: 1}, s.Lane("from", lanes.Limits{}).Stats())
}

// One message stays in a lane, kept back by whoever reads it, while all that comes after it moves on. Does the journal stay small, and does
// the one survive?
func TestJournalDoesNotGrowBehindAMessageThatIsKeptBack(t *testing.T) {
	dir := t.TempDir()
	opts := lanes.Options{SegmentBytes: 4 << 10, FlushPeriod: time.Millisecond}
	s := open(t, dir, opts)
	from, to := s.Lane("from", lanes.Limits{}), s.Lane("to", lanes.Limits{})
	kept := put(t, s, 0, 1, 1, from)
	take(t, from, 1)
	for n := range 100 {
		put(t, s, 1+10*n, 10, 1, from)
		var entries []lanes.Entry
		for _, m := range take(t, from, 10) {
			entries = append(entries, lanes.Entry{Message: m, Lanes: []*lanes.Lane{to}, Source: from, Spent: m.Seq})
		}
		require.NoError(t, s.Append(t.Context(), entries))
		to.Ack(take(t, to, 10)[9].Seq)
	}
	require.Eventually(t, func() bool { return len(segments(t, dir)) < 5 }, 20*time.Second, time.Millisecond)
	require.NoError(t, s.Close())
	s = open(t, dir, opts)
	require.Equal(t, kept, drain(t, s.Lane("from", lanes.Limits{})))
	require.Empty(t, drain(t, s.Lane("to", lanes.Limits{})))
}

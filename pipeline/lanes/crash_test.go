package lanes_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
)

// number reads back what message wrote.
func number(m frame.Message) (n int) {
	if _, err := fmt.Sscanf(string(m.Payload), "message %d", &n); err != nil {
		panic(err)
	}
	return n
}

// drain returns everything that is queued in a lane, and leaves it in flight.
func drain(t testing.TB, l *lanes.Lane) (out []frame.Message) {
	t.Helper()
	if st := l.Stats(); st.Depth > st.InFlight {
		out = take(t, l, st.Depth-st.InFlight)
	}
	require.Equal(t, l.Stats().Depth, l.Stats().InFlight)
	return out
}

// Is everything that Append has confirmed, and nobody has taken, there after kill -9 at any moment?
func TestNothingConfirmedIsLostWhenTheProcessIsKilled(t *testing.T) {
	dir := t.TempDir()
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	next, messages := 0, 0
	for range rounds {
		t.Setenv("WEFT_TEST_START", fmt.Sprint(next))
		cmd, lines := child(t, "load", dir)
		require.True(t, lines.Scan())
		timer := time.AfterFunc(time.Duration(rand.IntN(60))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		var stored, taken [childLanes]map[int]uint16
		for i := range childLanes {
			stored[i], taken[i] = map[int]uint16{}, map[int]uint16{}
		}
		for ok := true; ok; ok = lines.Scan() {
			var what string
			var lane, n int
			var packet uint16
			if k, _ := fmt.Sscan(lines.Text(), &what, &lane, &n, &packet); k == 4 && what == "S" {
				stored[lane][n] = packet
			} else if k == 3 && what == "A" {
				taken[lane][n] = 0
			}
			next = max(next, n+1)
		}
		_ = cmd.Wait()
		timer.Stop()

		s := open(t, dir, lanes.Options{SegmentBytes: 64 << 10})
		for i := range childLanes {
			l := childLane(s, i)
			found := map[int]bool{}
			last := -1
			for _, m := range drain(t, l) {
				n := number(m)
				require.Greater(t, n, last, "order, and each once")
				last, found[n], next = n, true, max(next, n+1)
				l.Ack(m.Seq)
			}
			for n, packet := range stored[i] {
				if _, ok := taken[i][n]; !ok {
					require.True(t, found[n], "message %d of lane %d", n, i)
				}
				require.True(t, s.Received(packet))
			}
			messages += len(stored[i])
			st := l.Stats()
			require.Zero(t, st.Depth)
			require.Equal(t, st.In, st.Delivered)
		}
		next += 100 // beyond what was written and not printed
		require.NoError(t, s.Close())
	}
	require.Greater(t, messages, rounds*10)
	damaged, err := filepath.Glob(filepath.Join(dir, "damaged", "*"))
	require.NoError(t, err)
	t.Logf("%d messages confirmed in %d rounds, %d torn writes set aside", messages, rounds, len(damaged))
}

// copyDir copies a data directory as it is at this moment, file by file: what a crash might leave.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	copyInto(t, to, from)
	return to
}

// copyInto copies the journal as it was at one moment: again, if it was changed meanwhile.
func copyInto(t testing.TB, to, from string) {
	t.Helper()
	target := filepath.Join(to, "journal")
	for before := state(t, from); ; {
		require.NoError(t, os.RemoveAll(target))
		require.NoError(t, os.MkdirAll(target, 0o700))
		for _, path := range segments(t, from) {
			if b, err := os.ReadFile(path); err == nil { // or it is gone, which shows below
				require.NoError(t, os.WriteFile(filepath.Join(target, filepath.Base(path)), b, 0o600))
			}
		}
		after := state(t, from)
		if after == before {
			return
		}
		before = after
	}
}

// state says what files there are, how long, and since when.
func state(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	var b strings.Builder
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintln(&b, e.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

func segments(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "journal", "*.seg"))
	require.NoError(t, err)
	return paths
}

// A segment is written ahead with zeros. Does a store that was killed take them for what they are, wherever in a segment it was, and
// does one that was closed leave none?
func TestRoomThatWasWrittenAheadIsNoDamage(t *testing.T) {
	origin := t.TempDir()
	s := open(t, origin, lanes.Options{SegmentBytes: 4 << 10})
	l := s.Lane("a", lanes.Limits{})
	var sent []frame.Message
	for n := range 200 {
		sent = append(sent, put(t, s, n, 1, 1, l)...)
		var said strings.Builder
		killed, err := lanes.Open(copyDir(t, origin), lanes.Options{}, slog.New(slog.NewTextHandler(&said, nil)))
		require.NoError(t, err)
		require.NotContains(t, said.String(), "damaged")
		require.Equal(t, sent, drain(t, killed.Lane("a", lanes.Limits{})))
		require.NoError(t, killed.Close())
	}
	require.NoError(t, s.Close())
	for _, path := range segments(t, origin) {
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Less(t, len(file)-len(bytes.TrimRight(file, "\x00")), 16, path)
	}
}

// Wherever the journal is damaged: does the store open, say what is lost, and keep everything else?
func TestDamageAnywhereCostsOnlyWhatItHits(t *testing.T) {
	origin := t.TempDir()
	s := open(t, origin, lanes.Options{SegmentBytes: 16 << 10, FlushPeriod: time.Hour})
	a, b := s.Lane("a", lanes.Limits{}), s.Lane("b", lanes.Limits{})
	var sent []frame.Message
	for n := 0; n < 1500; n += 10 {
		sent = append(sent, put(t, s, n, 10, 1, a, b)...)
	}
	before := copyDir(t, origin)
	index := map[uint64]frame.Message{}
	for _, m := range sent {
		index[m.Seq] = m
	}
	kinds := map[string]func(file []byte, at, n int) []byte{
		"truncated": func(file []byte, at, _ int) []byte { return file[:at] },
		"flipped":   func(file []byte, at, _ int) []byte { file[at] ^= 0x40; return file },
		"zeroed":    func(file []byte, at, n int) []byte { clear(file[at:min(at+n, len(file))]); return file },
		"random": func(file []byte, at, n int) []byte {
			for i := at; i < min(at+n, len(file)); i++ {
				file[i] = byte(rand.Uint32())
			}
			return file
		},
		"cut out": func(file []byte, at, n int) []byte { return append(file[:at:at], file[min(at+n, len(file)):]...) },
		"inserted": func(file []byte, at, n int) []byte {
			return append(file[:at:at], append(make([]byte, n), file[at:]...)...)
		},
	}
	rounds := 20
	if testing.Short() {
		rounds = 8
	}
	for kind, harm := range kinds {
		t.Run(kind, func(t *testing.T) {
			for range rounds {
				dir := copyDir(t, before)
				paths := segments(t, dir)
				require.Greater(t, len(paths), 3)
				path := paths[rand.IntN(len(paths))]
				file, err := os.ReadFile(path)
				require.NoError(t, err)
				at, n := rand.IntN(len(file)), 1+rand.IntN(300)
				length := len(file)
				require.NoError(t, os.WriteFile(path, harm(file, at, n), 0o600))

				var said strings.Builder
				s, err := lanes.Open(dir, lanes.Options{}, slog.New(slog.NewTextHandler(&said, nil)))
				require.NoError(t, err, "at %d of %d", at, length)
				for _, name := range []string{"a", "b"} {
					got := drain(t, s.Lane(name, lanes.Limits{}))
					last := uint64(0)
					for _, m := range got {
						require.Equal(t, index[m.Seq], m)
						require.Greater(t, m.Seq, last)
						last = m.Seq
					}
					// A record is 50 bytes and more. Where a set of lanes is hit, its block, here a segment, is lost.
					lost := len(sent) - len(got)
					require.LessOrEqual(t, lost, 16<<10/50+10, "at %d of %d", at, length)
					if kind != "truncated" && at > 1000 && at < length-1000 {
						require.LessOrEqual(t, lost, 3+n/50, "at %d of %d", at, length)
					}
					if lost > 0 && kind != "truncated" && kind != "cut out" {
						require.Regexp(t, "journal damaged|unfinished record at the end", said.String())
					}
				}
				sealed := s.Lane("c", lanes.Limits{})
				fresh := put(t, s, 1000, 3, 1, sealed)
				require.Greater(t, fresh[0].Seq, sent[len(sent)-1].Seq, "no number comes twice")
				require.Equal(t, fresh, take(t, sealed, 3))
				require.NoError(t, s.Close())
			}
		})
	}
}

// A process was killed while it wrote, or before it had written the first byte of a segment. Does the store say so once, as what it is?
func TestWhatAKillLeavesAtTheEndIsNoDamageAndSaidOnce(t *testing.T) {
	for _, tt := range []struct {
		name, words string
		leave       func(last string) error
	}{
		{"a torn record and room", "an unfinished record at the end was dropped", func(last string) error {
			file, err := os.ReadFile(last)
			file = append(bytes.TrimRight(file, "\x00"), 0xE5, 0x57)
			return errors.Join(err, os.WriteFile(last, append(file, make([]byte, 50)...), 0o600))
		}},
		{"an empty segment", "nothing was in it", func(last string) error {
			return os.WriteFile(last[:len(last)-len("1.seg")]+"2.seg", nil, 0o600)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, lanes.Options{})
			sent := put(t, s, 0, 10, 1, s.Lane("a", lanes.Limits{}))
			require.NoError(t, s.Close())
			paths := segments(t, dir)
			require.NoError(t, tt.leave(paths[len(paths)-1]))
			var said strings.Builder
			for range 3 {
				s, err := lanes.Open(dir, lanes.Options{}, slog.New(slog.NewTextHandler(&said, nil)))
				require.NoError(t, err)
				require.Len(t, drain(t, s.Lane("a", lanes.Limits{})), len(sent))
				require.NoError(t, s.Close())
			}
			require.NotContains(t, said.String(), "level=WARN")
			require.Equal(t, 1, strings.Count(said.String(), tt.words), said.String())
		})
	}
}

func TestEpochIsNewWhenNoHeaderIsReadable(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, lanes.Options{})
	epoch := s.Epoch()
	put(t, s, 0, 3, 1, s.Lane("a", lanes.Limits{}))
	require.NoError(t, s.Close())
	for _, path := range segments(t, dir) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(make([]byte, 20), 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	for uint64(time.Now().UnixMilli()) <= epoch { // the epoch is a time
		runtime.Gosched()
	}
	s = open(t, dir, lanes.Options{})
	require.Greater(t, s.Epoch(), epoch)
	require.Len(t, drain(t, s.Lane("a", lanes.Limits{})), 3)
}

func TestSecondProcessIsToldWhoHoldsTheDirectory(t *testing.T) {
	dir := t.TempDir()
	cmd, lines := child(t, "hold", dir)
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	require.True(t, lines.Scan())
	_, err := lanes.Open(dir, lanes.Options{}, slog.New(slog.DiscardHandler))
	require.EqualError(t, err, fmt.Sprintf("data_dir %s is in use by another weft process (pid %d): stop that one, or give this node a data_dir of its own", dir, cmd.Process.Pid))
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	dir := t.TempDir()
	cmd, lines := child(t, "full", dir)
	var stored, refused, depth int
	require.True(t, lines.Scan())
	_, err := fmt.Sscan(lines.Text(), &stored, &refused, &depth)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	require.Equal(t, stored, depth)
	require.GreaterOrEqual(t, refused, 3)

	s := open(t, dir, lanes.Options{})
	got := drain(t, s.Lane("a", lanes.Limits{}))
	require.Len(t, got, stored)
	for i, m := range got {
		require.Equal(t, i, number(m))
	}
	_, err = os.Stat(filepath.Join(dir, "damaged"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestReadOnlyDirectoryIsAClearError(t *testing.T) {
	_, err := lanes.Open("/proc/weft", lanes.Options{}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "data_dir /proc/weft")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = lanes.Open(file, lanes.Options{}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "data_dir "+file)
}

func TestNewerFormatIsRefusedAndKept(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, open(t, dir, lanes.Options{}).Close())
	path := segments(t, dir)[0]
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	lanes.SetVersion(file, 2)
	require.NoError(t, os.WriteFile(path, file, 0o600))
	_, err = lanes.Open(dir, lanes.Options{}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "has format 2, this version of weft reads 1")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, file, after)
}

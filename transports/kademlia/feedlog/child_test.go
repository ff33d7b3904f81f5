package feedlog_test

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

// The test binary runs itself as a child for what needs a process of its own: to be killed, to meet a full disk.
func TestMain(m *testing.M) {
	children := map[string]func(dir string) error{"load": childLoad, "full": childFull}
	if role := os.Getenv("WEFT_TEST_CHILD"); role != "" {
		if err := children[role](os.Getenv("WEFT_TEST_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child starts this binary in a role. Its output is read line by line.
func child(t *testing.T, role, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "WEFT_TEST_CHILD="+role, "WEFT_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, bufio.NewScanner(out)
}

// childLoad appends five records at a time until it is killed, and prints Next after each time.
func childLoad(dir string) error {
	l, err := feedlog.Open(dir, feedlog.Limits{Bytes: 100 << 10}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	for {
		var records [5][]byte
		for i := range records {
			records[i] = record(l.Next() + uint64(i))
		}
		if _, err := l.Append(records[:]...); err != nil {
			return err
		}
		fmt.Println(l.Next())
	}
}

// Is everything that Append has confirmed there after kill -9 at any moment, and each Append whole?
func TestNothingConfirmedIsLostWhenTheProcessIsKilled(t *testing.T) {
	dir := t.TempDir()
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	confirmed := uint64(1)
	for range rounds {
		cmd, lines := child(t, "load", dir)
		require.True(t, lines.Scan())
		timer := time.AfterFunc(time.Duration(rand.IntN(30))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		for ok := true; ok; ok = lines.Scan() {
			_, _ = fmt.Sscan(lines.Text(), &confirmed)
		}
		_ = cmd.Wait()
		timer.Stop()
		l := open(t, dir, feedlog.Limits{Bytes: 100 << 10})
		require.GreaterOrEqual(t, l.Next(), confirmed)
		require.LessOrEqual(t, l.Next(), confirmed+5)
		require.Equal(t, uint64(1), l.Next()%5)
		requireRun(t, l, l.First(), l.Next())
		require.Zero(t, l.Damage())
		require.NoError(t, l.Close())
	}
	require.Greater(t, confirmed, uint64(rounds*5))
}

// childFull appends until the file size limit stops it, frees the limit, and goes on. It prints Next.
func childFull(dir string) error {
	l, err := feedlog.Open(dir, feedlog.Limits{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: 20 << 10, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	refused := 0
	for l.Next() < 1000 {
		next, size := l.Next(), l.Size()
		_, err := l.Append(record(next), record(next+1), record(next+2))
		if err == nil {
			continue
		}
		if refused++; !errors.Is(err, unix.EFBIG) || l.Next() != next || l.Size() != size {
			return fmt.Errorf("refused with %w, but something was changed", err)
		}
		for number := l.First(); number < next; number++ {
			if got, err := l.Read(number); err != nil || string(got) != string(record(number)) {
				return fmt.Errorf("record %d of a full log: %w", number, err)
			}
		}
		paths, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
		if info, err := os.Stat(paths[len(paths)-1]); err != nil || info.Size() != size {
			return fmt.Errorf("refused, but not cut back: %w", err)
		}
		if refused == 3 {
			limit.Cur = unix.RLIM_INFINITY
			if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
				return err
			}
		}
	}
	fmt.Println(l.Next(), refused)
	return l.Close()
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	dir := t.TempDir()
	cmd, lines := child(t, "full", dir)
	var next uint64
	var refused int
	require.True(t, lines.Scan())
	_, err := fmt.Sscan(lines.Text(), &next, &refused)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	require.Equal(t, 3, refused)
	l := open(t, dir, feedlog.Limits{})
	requireRun(t, l, 1, next)
	require.Zero(t, l.Damage())
}

// The folder cannot be written to for a while: is what failed made good by the next call, whatever it is?
func TestFailedCallsAreMadeGoodByTheNext(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	away := dir + "-away"
	for _, tt := range []struct {
		name  string
		fail  func(l *feedlog.Log) error
		first uint64
		next  uint64
	}{
		{"append", func(l *feedlog.Log) error { _, err := l.Append([]byte("new segment")); return err }, 1, 11},
		{"reset", func(l *feedlog.Log) error { return l.Reset(20) }, 20, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, dir, feedlog.Limits{Bytes: 8})
			require.NoError(t, l.Reset(1))
			require.NoError(t, l.Close())
			l = open(t, dir, feedlog.Limits{})
			fill(t, l, 10)
			require.NoError(t, l.Close())
			l = open(t, dir, feedlog.Limits{Bytes: 1600}) // the next Append begins a segment
			require.NoError(t, os.Rename(dir, away))
			require.ErrorIs(t, tt.fail(l), os.ErrNotExist)
			require.ErrorIs(t, tt.fail(l), os.ErrNotExist)
			require.Equal(t, tt.next, l.Next())
			require.NoError(t, os.Rename(away, dir))
			requireRun(t, l, tt.first, tt.next)
			fill(t, l, 3)
			requireRun(t, l, tt.first, tt.next+3)
			require.NoError(t, l.Close())
			l = open(t, dir, feedlog.Limits{})
			requireRun(t, l, tt.first, tt.next+3)
			require.NoError(t, l.Close())
		})
	}
}

// A process ends in the middle of a Reset: does the next one finish it?
func TestInterruptedResetIsFinishedAtOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := open(t, dir, feedlog.Limits{Bytes: 800})
	fill(t, l, 10)
	require.NoError(t, os.Rename(dir, dir+"-away"))
	require.ErrorIs(t, l.Reset(3), os.ErrNotExist)
	require.NoError(t, l.Close())
	require.NoError(t, os.Rename(dir+"-away", dir))
	require.NotEmpty(t, segments(t, dir))
	l = open(t, dir, feedlog.Limits{})
	requireRun(t, l, 3, 3)
	require.Empty(t, segments(t, dir))
	fill(t, l, 2)
	require.NoError(t, l.Close())
	requireRun(t, open(t, dir, feedlog.Limits{}), 3, 5)
}

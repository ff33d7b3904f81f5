package lanes_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weft-relay/weft/pipeline/lanes"
)

// The test binary runs itself as a child for what needs a process of its own: to be killed, to hold a lock, to meet a full disk.
func TestMain(m *testing.M) {
	children := map[string]func(dir string) error{
		"load": childLoad, "hold": childHold, "full": childFull,
		"move again":       func(dir string) error { return childMove(dir, true) },
		"move and give up": func(dir string) error { return childMove(dir, false) },
	}
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

const childLanes = 3

func childLane(s *lanes.Store, i int) *lanes.Lane {
	return s.Lane(fmt.Sprint("lane", i), lanes.Limits{})
}

// childLoad appends and reads until it is killed. It prints "S lane number packet" when a message is stored, and
// "A lane number" before it acknowledges one.
func childLoad(dir string) error {
	s, err := lanes.Open(dir, lanes.Options{SegmentBytes: 64 << 10, FlushPeriod: 5 * time.Millisecond}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	var start int
	if _, err := fmt.Sscan(os.Getenv("WEFT_TEST_START"), &start); err != nil {
		return err
	}
	var mu sync.Mutex
	out := bufio.NewWriter(os.Stdout)
	say := func(f func()) {
		mu.Lock()
		defer mu.Unlock()
		f()
		out.Flush()
	}
	for i := range childLanes {
		l := childLane(s, i)
		go func() {
			for n := start; ; {
				entries := make([]lanes.Entry, 1+n%40)
				for k := range entries {
					entries[k] = lanes.Entry{Message: message(n+k, 2), Lanes: []*lanes.Lane{l}, PacketID: uint16(i*20000 + (n+k)%20000 + 1)}
				}
				if err := s.Append(context.Background(), entries); err != nil {
					panic(err)
				}
				say(func() {
					for k := range entries {
						fmt.Fprintln(out, "S", i, n+k, entries[k].PacketID)
					}
				})
				n += len(entries)
			}
		}()
		go func() {
			for {
				msgs, err := l.Next(context.Background(), 16, 1<<20)
				if err != nil {
					panic(err)
				}
				say(func() {
					for _, m := range msgs {
						fmt.Fprintln(out, "A", i, number(m))
					}
				})
				l.Ack(msgs[len(msgs)-1].Seq)
			}
		}()
	}
	select {}
}

// childHold opens the store, says so, and keeps it until it is killed.
func childHold(dir string) error {
	if _, err := lanes.Open(dir, lanes.Options{}, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	fmt.Println("open")
	select {}
}

// childFull appends until the file size limit stops it, frees the limit, and goes on. It prints how many messages were stored.
func childFull(dir string) error {
	s, err := lanes.Open(dir, lanes.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	l := s.Lane("a", lanes.Limits{})
	limit := unix.Rlimit{Cur: 20 << 10, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	stored, refused := 0, 0
	for stored < 5000 {
		entries := make([]lanes.Entry, 7)
		for k := range entries {
			entries[k] = lanes.Entry{Message: message(stored+k, 1), Lanes: []*lanes.Lane{l}, PacketID: uint16(1 + refused)}
		}
		if err := s.Append(context.Background(), entries); err == nil {
			stored += len(entries)
			continue
		}
		for _, e := range entries {
			if e.Message.Seq != 0 {
				return fmt.Errorf("refused, but numbered")
			}
		}
		if s.Received(uint16(1+refused)) && stored == 0 {
			return fmt.Errorf("refused, but received")
		}
		if refused++; refused == 3 {
			limit.Cur = unix.RLIM_INFINITY
			if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
				return err
			}
		}
	}
	fmt.Println(stored, refused, l.Stats().Depth)
	return s.Close()
}

// childMove moves messages to another lane until the file size limit stops it, frees the limit, and ends as if it were killed: after
// having tried again, or without. It prints how many it has moved.
func childMove(dir string, again bool) error {
	s, err := lanes.Open(dir, lanes.Options{FlushPeriod: time.Millisecond}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	from, to, other := s.Lane("from", lanes.Limits{}), s.Lane("to", lanes.Limits{}), s.Lane("other", lanes.Limits{})
	msgs, err := from.Next(context.Background(), 1000, 1<<20)
	if err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: 200 << 10, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	moved := 0
	var entries []lanes.Entry
	for ; err == nil; moved += len(entries) {
		entries = nil
		for i := moved; i < moved+5; i++ {
			m := msgs[i]
			m.Payload = make([]byte, 4<<10)
			entries = append(entries, lanes.Entry{Message: m, Lanes: []*lanes.Lane{to}, Source: from, Spent: m.Seq})
		}
		err = s.Append(context.Background(), entries)
	}
	moved -= len(entries)
	limit.Cur = unix.RLIM_INFINITY
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	// Something else is written meanwhile, and with it what the lanes are like.
	for range 3 {
		if err := s.Append(context.Background(), []lanes.Entry{{Message: message(0, 1), Lanes: []*lanes.Lane{other}}}); err != nil {
			return err
		}
	}
	if again {
		if err := s.Append(context.Background(), entries); err != nil {
			return err
		}
		moved += len(entries)
	}
	fmt.Println(moved)
	os.Exit(0)
	return nil
}

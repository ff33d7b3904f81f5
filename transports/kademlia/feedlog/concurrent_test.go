package feedlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

// Many follow a log that two write to and that forgets its beginning: does each reader see all that is not gone, in order?
func TestReadersFollowWhileOthersAppend(t *testing.T) {
	l := open(t, t.TempDir(), feedlog.Limits{Bytes: 40_000})
	const last = 3000
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			seen := [2]int{-1, -1}
			for number := uint64(1); number <= last; {
				changed := l.Changed()
				got, err := l.Read(number)
				switch {
				case errors.Is(err, feedlog.ErrGone):
					number, seen = l.First(), [2]int{-1, -1}
				case errors.Is(err, feedlog.ErrNotYet):
					<-changed
				default:
					var writer, n int
					if _, scanErr := fmt.Sscan(string(got), &writer, &n); err != nil || scanErr != nil || seen[writer] >= 0 && n != seen[writer]+1 {
						t.Errorf("record %d: %q after %v, %v", number, got, seen, err)
						return
					}
					seen[writer] = n
					number++
				}
			}
		})
	}
	for writer := range 2 {
		all.Go(func() {
			say := func(n int) []byte { return fmt.Appendf(nil, "%d %d %0*d", writer, n, n%200, 0) }
			for n := 0; l.Next() <= last; n += 2 {
				if _, err := l.Append(say(n), say(n+1)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	require.Zero(t, l.Damage())
}

// Readers are far behind, each in another segment, when the log is closed or reset under them. Does each get a record or a clear error?
func TestReadersSurviveResetAndClose(t *testing.T) {
	l := open(t, scratch(t), feedlog.Limits{Bytes: 5_000})
	fill(t, l, 100)
	var all sync.WaitGroup
	for i := range uint64(3) {
		all.Go(func() {
			for number := i; ; number++ {
				got, err := l.Read(number % 120)
				switch {
				case errors.Is(err, feedlog.ErrClosed):
					return
				case errors.Is(err, feedlog.ErrGone), errors.Is(err, feedlog.ErrNotYet):
				case err != nil || string(got) != string(record(number%120)):
					t.Errorf("record %d: %q, %v", number%120, got, err)
					return
				}
			}
		})
	}
	for range 5 {
		require.NoError(t, l.Reset(1))
		fill(t, l, 30)
	}
	require.Zero(t, l.Damage())
	require.NoError(t, l.Close())
	all.Wait()
}

// Does a reader go to its record, and not through the segment up to it?
func TestReadDoesNotScanTheSegment(t *testing.T) {
	bytesRead := func() (n int) {
		b, err := os.ReadFile("/proc/self/io")
		if err != nil {
			t.Skip("needs /proc")
		}
		_, err = fmt.Sscanf(string(b), "rchar: %d", &n)
		require.NoError(t, err)
		return n
	}
	l := open(t, scratch(t), feedlog.Limits{})
	const last = 30_000
	for l.Next() <= last {
		records := make([][]byte, 1000)
		for i := range records {
			records[i] = fmt.Appendf(nil, "%0100d", l.Next()+uint64(i))
		}
		_, err := l.Append(records...)
		require.NoError(t, err)
	}
	read := func(number uint64) {
		got, err := l.Read(number)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%0100d", number), string(got))
	}
	before := bytesRead()
	for number := uint64(1); number <= last; number++ {
		read(number)
		read((number+last/2)%last + 1) // another one, elsewhere
	}
	require.Less(t, bytesRead()-before, 2*last*5<<10, "a page for each")
	before = bytesRead()
	for range 300 {
		read(rand.Uint64N(last) + 1)
	}
	require.Less(t, bytesRead()-before, 300*80<<10, "from the next place in the index")
}

// Hundreds of feeds are open at once: does each cost two open files at most, and no goroutine?
func TestOpenLogHasTwoFilesAndNoGoroutine(t *testing.T) {
	files := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("needs /proc")
		}
		return len(entries)
	}
	before, goroutines := files(), runtime.NumGoroutine()
	const logs = 50
	for range logs {
		l := open(t, t.TempDir(), feedlog.Limits{Bytes: 2000})
		fill(t, l, 20)
		requireRun(t, l, l.First(), 21)
	}
	require.LessOrEqual(t, files(), before+2*logs)
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
}

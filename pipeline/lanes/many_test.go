package lanes_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/lanes"
)

// Many writers and readers at once, some slow: each lane gets what is due in it, each writer's messages in order.
func TestLanesKeepOrderUnderConcurrency(t *testing.T) {
	const writers, readers, each = 4, 8, 1500
	s := open(t, t.TempDir(), lanes.Options{SegmentBytes: 64 << 10, MemoryBytes: 32 << 10, FlushPeriod: time.Millisecond})
	due := make([]*lanes.Lane, readers)
	for i := range due {
		due[i] = s.Lane(fmt.Sprint("lane", i), lanes.Limits{Bytes: int64(2000 + i*10000)})
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := 0; n < each; {
				entries := make([]lanes.Entry, min(1+rand.IntN(30), each-n))
				for i := range entries {
					entries[i] = lanes.Entry{Message: message(w*each+n+i, 1), Lanes: due[n%3:]}
				}
				n += len(entries)
				if err := s.Append(t.Context(), entries); err != nil {
					panic(err)
				}
			}
		})
	}
	counts := make([]int, readers)
	for i, l := range due {
		wg.Go(func() {
			last := [writers]int{-1, -1, -1, -1}
			for l.Stats().Delivered < uint64(each*writers/4) {
				msgs, err := l.Next(t.Context(), 1+i*5, 1000)
				if err != nil {
					panic(err)
				}
				if rand.IntN(20) == 0 {
					l.Rewind()
					continue
				}
				for _, m := range msgs {
					n := number(m)
					w := n / each
					if n <= last[w] {
						panic(fmt.Sprintf("%d after %d", n, last[w]))
					}
					last[w] = n
				}
				counts[i] += len(msgs)
				l.Ack(msgs[len(msgs)-1].Seq)
			}
			go func() { // let the writers end
				for {
					msgs, err := l.Next(t.Context(), 100, 1<<20)
					if err != nil {
						return
					}
					l.Ack(msgs[len(msgs)-1].Seq)
				}
			}()
		})
	}
	wg.Wait()
	for i, n := range counts {
		require.GreaterOrEqual(t, n, each*writers/4, i)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A lane at rest costs next to nothing, and neither does one more lane for messages that are stored anyway.
func TestAThousandLanesCostLittle(t *testing.T) {
	dir := t.TempDir()
	before := heap()
	s := open(t, dir, lanes.Options{})
	due := make([]*lanes.Lane, 1000)
	for i := range due {
		due[i] = s.Lane(fmt.Sprint("route/peer", i), lanes.Limits{})
	}
	atRest := (heap() - before) / 1000
	require.Less(t, atRest, uint64(1500), "bytes of a lane at rest")

	count := 20_000
	if !testing.Short() && !raceEnabled {
		count = 100_000
	}
	for n := 0; n < count; n += 1000 {
		put(t, s, n, 1000, 1, due...)
	}
	queued := heap() - before
	require.Less(t, queued, uint64(24<<20))
	require.Less(t, diskUse(t, dir), int64(count*100))
	t.Logf("%d bytes a lane at rest; %d messages in each: %d KiB of memory, %d KiB on disk", atRest, count, queued>>10, diskUse(t, dir)>>10)
	for _, i := range []int{0, 500, 999} {
		for n := 0; n < count; {
			for _, m := range take(t, due[i], 500) {
				require.Equal(t, n, number(m))
				n++
			}
		}
	}
	runtime.KeepAlive(s)
}

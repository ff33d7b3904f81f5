package feedlog_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

// BenchmarkAppend stores records durably, some at a time. One op is one Append.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		for _, batch := range []int{1, 16} {
			b.Run(fmt.Sprintf("%dKiB/batch=%d", size>>10, batch), func(b *testing.B) {
				l := open(b, b.TempDir(), feedlog.Limits{Bytes: 256 << 20})
				records := make([][]byte, batch)
				for i := range records {
					records[i] = make([]byte, size)
				}
				b.SetBytes(int64(size * batch))
				b.ReportAllocs()
				for b.Loop() {
					_, err := l.Append(records...)
					require.NoError(b, err)
				}
			})
		}
	}
}

// BenchmarkRead reads records one by one, in order or anywhere.
func BenchmarkRead(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 64 << 10} {
		l := open(b, b.TempDir(), feedlog.Limits{})
		records := make([][]byte, 64)
		for i := range records {
			records[i] = make([]byte, size)
		}
		for l.Size() < 32<<20 {
			_, err := l.Append(records...)
			require.NoError(b, err)
		}
		last := l.Next() - 1
		for name, next := range map[string]func(number uint64) uint64{
			"sequential": func(number uint64) uint64 { return number%last + 1 },
			"random":     func(uint64) uint64 { return rand.Uint64N(last) + 1 },
		} {
			b.Run(fmt.Sprintf("%s/%dB", name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				number := uint64(1)
				for b.Loop() {
					_, err := l.Read(number)
					require.NoError(b, err)
					number = next(number)
				}
			})
		}
	}
}

// BenchmarkOpen reads a log of 32 MiB.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	l := open(b, dir, feedlog.Limits{})
	records := make([][]byte, 64)
	for i := range records {
		records[i] = make([]byte, 1<<10)
	}
	for l.Size() < 32<<20 {
		_, err := l.Append(records...)
		require.NoError(b, err)
	}
	b.SetBytes(l.Size())
	require.NoError(b, l.Close())
	for b.Loop() {
		require.NoError(b, open(b, dir, feedlog.Limits{}).Close())
	}
}

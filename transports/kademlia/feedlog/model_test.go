package feedlog_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

// model is what a log should be: all that was appended since the last Reset.
type model struct {
	base    uint64 // number of the first
	records [][]byte
	first   uint64 // seen last
}

func (m *model) next() uint64 { return m.base + uint64(len(m.records)) }

// check compares some of the log, or all of it.
func (m *model) check(t *testing.T, r *rand.Rand, l *feedlog.Log, limits feedlog.Limits, reads int) {
	t.Helper()
	require.Equal(t, m.next(), l.Next())
	first := l.First()
	require.GreaterOrEqual(t, first, m.first, "what is gone stays gone")
	m.first = first
	if len(m.records) > 0 {
		require.Less(t, first, m.next(), "the newest stays")
		if limits.Bytes > 0 {
			require.LessOrEqual(t, l.Size(), max(limits.Bytes, int64(16+5*(24+3000))))
		}
		if limits.Bytes == 0 {
			require.Equal(t, m.base, first)
		}
	}
	for i := range reads {
		number := m.base + uint64(i)
		if reads != len(m.records) {
			number = m.base + r.Uint64N(uint64(len(m.records)+2))
		}
		got, err := l.Read(number)
		switch {
		case number < first:
			require.ErrorIs(t, err, feedlog.ErrGone)
		case number >= m.next():
			require.ErrorIs(t, err, feedlog.ErrNotYet)
		default:
			require.NoError(t, err)
			require.Equal(t, m.records[number-m.base], got)
		}
	}
}

// Whatever is done to a log, in whatever order: is it a slice of which the beginning goes missing?
func TestLogIsASliceThatForgetsItsBeginning(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		chacha := rand.NewChaCha8([32]byte{byte(seed)})
		limits := feedlog.Limits{Bytes: []int64{0, 20_000, 300_000}[round%3]}
		dir := scratch(t)
		l := open(t, dir, limits)
		m := model{base: 1, first: 1}
		t.Logf("seed %d", seed)
		for range 300 {
			switch op := r.IntN(100); {
			case op < 60:
				batch := make([][]byte, 1+r.IntN(5))
				for i := range batch {
					batch[i] = make([]byte, 1+r.IntN(3000))
					_, _ = chacha.Read(batch[i])
				}
				changed := l.Changed()
				first, err := l.Append(batch...)
				require.NoError(t, err)
				require.Equal(t, m.next(), first)
				m.records = append(m.records, batch...)
				<-changed
			case op < 90:
				m.check(t, r, l, limits, 10)
			case op < 98:
				require.NoError(t, l.Close())
				l = open(t, dir, limits)
				m.check(t, r, l, limits, len(m.records))
			default:
				m = model{base: 1 + r.Uint64N(2*m.next())}
				m.first = m.base
				require.NoError(t, l.Reset(m.base))
			}
		}
		m.check(t, r, l, limits, len(m.records))
		require.Zero(t, l.Damage())
		require.NoError(t, l.Close())
	}
}

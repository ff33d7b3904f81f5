package lanes_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
)

// model is what a lane should be, in the plainest form.
type model struct {
	name      string
	limits    lanes.Limits
	lane      *lanes.Lane
	queued    []frame.Message
	flying    []frame.Message
	in        uint64
	delivered uint64
	dropped   map[string]uint64
}

func (m *model) bytes() (n int64) {
	for _, list := range [][]frame.Message{m.queued, m.flying} {
		for i := range list {
			n += int64(lanes.Size(&list[i]))
		}
	}
	return n
}

func (m *model) fits(msg *frame.Message) bool {
	return m.limits.Bytes == 0 || m.bytes()+int64(lanes.Size(msg)) <= m.limits.Bytes
}

// take says what should become of a message that Append has stored.
func (m *model) take(msg frame.Message) {
	m.in++
	if int64(lanes.Size(&msg)) > m.limits.Bytes && m.limits.Bytes > 0 {
		m.dropped[lanes.ReasonTooLarge]++
		return
	}
	for m.limits.WhenFull == lanes.DropOldest && !m.fits(&msg) && len(m.queued) > 0 {
		m.queued = m.queued[1:]
		m.dropped[lanes.ReasonFull]++
	}
	if !m.fits(&msg) {
		m.dropped[lanes.ReasonFull]++
		return
	}
	m.queued = append(m.queued, msg)
}

func (m *model) stats() lanes.Stats {
	st := lanes.Stats{
		Depth: len(m.queued) + len(m.flying), InFlight: len(m.flying), Bytes: m.bytes(),
		In: m.in, Delivered: m.delivered, Dropped: m.dropped,
	}
	if all := append(append([]frame.Message(nil), m.flying...), m.queued...); len(all) > 0 {
		st.Oldest = all[0].Time
	}
	if len(m.dropped) == 0 {
		st.Dropped = nil
	}
	return st
}

func (m *model) settle(r *rand.Rand, reason string) {
	if len(m.flying) == 0 {
		return
	}
	n := 1 + r.IntN(len(m.flying))
	seq := m.flying[n-1].Seq
	m.flying = m.flying[n:]
	if reason == "" {
		m.lane.Ack(seq)
		m.delivered += uint64(n)
	} else {
		m.lane.Drop(seq, reason)
		m.dropped[reason] += uint64(n)
	}
}

type world struct {
	t      *testing.T
	r      *rand.Rand
	dir    string
	opts   lanes.Options
	store  *lanes.Store
	models []*model
	n      int
}

func (w *world) open() {
	w.store = open(w.t, w.dir, w.opts)
	for _, m := range w.models {
		m.lane = w.store.Lane(m.name, m.limits)
	}
}

func (w *world) append() {
	entries := make([]lanes.Entry, 1+w.r.IntN(8))
	due := make([][]*model, len(entries))
	for i := range entries {
		w.n++
		entries[i].Message = message(w.n, byte(1+w.r.IntN(2)))
		if w.r.IntN(50) == 0 {
			entries[i].Message.Payload = make([]byte, 3000)
		}
		for _, k := range w.r.Perm(len(w.models))[:w.r.IntN(len(w.models)+1)] {
			due[i] = append(due[i], w.models[k])
			entries[i].Lanes = append(entries[i].Lanes, w.models[k].lane)
		}
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Millisecond)
	defer cancel()
	err := w.store.Append(ctx, entries)
	refused := false
	for i, e := range entries {
		if e.Message.Seq == 0 {
			refused = true
			continue
		}
		require.False(w.t, refused, "what is stored is a prefix")
		for _, m := range due[i] {
			m.take(e.Message)
		}
	}
	require.Equal(w.t, refused, err != nil)
}

func (w *world) step() {
	m := w.models[w.r.IntN(len(w.models))]
	switch p := w.r.IntN(100); {
	case p < 40:
		w.append()
	case p < 65 && len(m.queued) > 0:
		msgs, err := m.lane.Next(w.t.Context(), 1+w.r.IntN(10), 100+w.r.IntN(300))
		require.NoError(w.t, err)
		require.Equal(w.t, m.queued[:len(msgs)], msgs)
		m.flying = append(m.flying, msgs...)
		m.queued = m.queued[len(msgs):]
	case p < 85:
		m.settle(w.r, "")
	case p < 88:
		m.settle(w.r, "poison")
	case p < 91:
		m.lane.Rewind()
		m.queued, m.flying = append(m.flying, m.queued...), nil
	case p < 93:
		w.restart()
	case p < 95:
		w.crash()
	}
	for _, m := range w.models {
		require.Equal(w.t, m.stats(), m.lane.Stats(), m.name)
		if m.limits.Bytes > 0 {
			require.LessOrEqual(w.t, m.bytes(), m.limits.Bytes)
		}
	}
}

func (w *world) restart() {
	require.NoError(w.t, w.store.Close())
	for _, m := range w.models {
		m.queued, m.flying = append(m.flying, m.queued...), nil
	}
	w.open()
}

// crash opens a copy of what is on the disk now: every message is there that has not left its lane, those that have may be
// there again, and the account is exact.
func (w *world) crash() {
	dir := w.t.TempDir()
	copyInto(w.t, dir, w.dir)
	s := open(w.t, dir, w.opts)
	for _, m := range w.models {
		l := s.Lane(m.name, m.limits)
		st := l.Stats()
		require.Equal(w.t, m.in, st.In, m.name)
		require.Equal(w.t, m.dropped[lanes.ReasonFull], st.Dropped[lanes.ReasonFull], m.name)
		require.LessOrEqual(w.t, st.Delivered, m.delivered)
		want := append(append([]frame.Message(nil), m.flying...), m.queued...)
		got := drain(w.t, l)
		require.GreaterOrEqual(w.t, len(got), len(want))
		require.Equal(w.t, want, append([]frame.Message(nil), got[len(got)-len(want):]...))
	}
	require.NoError(w.t, s.Close())
}

// Does in = delivered + queued + dropped hold, and every limit, whatever happens in whatever order?
func TestAccountsAndLimitsAreExact(t *testing.T) {
	steps := 1500
	if testing.Short() {
		steps = 400
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &world{
				t: t, r: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(),
				opts: lanes.Options{SegmentBytes: 8 << 10, MemoryBytes: 4 << 10, FlushPeriod: time.Duration(1+seed*20) * time.Millisecond},
			}
			for i, limits := range []lanes.Limits{
				{}, {Bytes: 2000, WhenFull: lanes.DropNew}, {Bytes: 2000, WhenFull: lanes.DropOldest}, {Bytes: 4000}, {Bytes: 900, WhenFull: lanes.DropOldest},
			} {
				w.models = append(w.models, &model{name: fmt.Sprint("lane", i), limits: limits, dropped: map[string]uint64{}})
			}
			w.open()
			for range steps {
				w.step()
			}
		})
	}
}

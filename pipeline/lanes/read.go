package lanes

import (
	"context"
	"math"
	"sort"
	"time"

	"github.com/weft-relay/weft/pipeline/frame"
)

// take returns what can be had now. full means that there is more and it does not fit.
func (l *Lane) take(ctx context.Context, limit, maxBytes int, strict bool) (msgs []frame.Message, full bool, err error) {
	s := l.store
	for {
		s.mu.Lock()
		if s.closed || l.removed {
			s.mu.Unlock()
			return nil, false, ErrClosed
		}
		var missing *block
		msgs, missing, full = l.read(limit, maxBytes, strict)
		s.mu.Unlock()
		if len(msgs) > 0 || missing == nil {
			return msgs, full, nil
		}
		if err := s.fetch(ctx, missing); err != nil {
			return nil, false, err
		}
	}
}

// read moves messages from the queue into flight, as far as they are in memory: missing is the block to load, if there is one.
func (l *Lane) read(limit, maxBytes int, strict bool) (msgs []frame.Message, missing *block, full bool) {
	for bytes := 0; len(msgs) < limit; {
		it, missing := l.head()
		if it == nil {
			return msgs, missing, false
		}
		size := Size(&it.msg)
		if bytes+size > maxBytes && (strict || len(msgs) > 0) {
			return msgs, nil, true
		}
		if msgs == nil {
			msgs = make([]frame.Message, 0, min(limit, l.durable.unread+l.volatile.unread))
		}
		bytes += size
		msgs = append(msgs, it.msg)
		l.depart(it)
	}
	return msgs, nil, true
}

// depart puts the head of the lane in flight.
func (l *Lane) depart(it *item) {
	size := int64(Size(&it.msg))
	q := l.queueOf(it)
	q.pass(it.msg.Seq, size)
	q.flying += size
	l.flights = append(l.flights, flight{seq: it.msg.Seq, time: it.msg.Time, size: size, qos0: it.msg.QoS == 0})
}

func (l *Lane) queueOf(it *item) *queue {
	if it.msg.QoS == 0 {
		return &l.volatile
	}
	return &l.durable
}

// head returns the first unread message that is not too old, or the block that must be in memory to know it.
func (l *Lane) head() (*item, *block) {
	for {
		it, missing := l.durableHead()
		if missing != nil {
			return nil, missing
		}
		if z := l.store.ring.first(l); z != nil && (it == nil || z.msg.Seq < it.msg.Seq) {
			it = z
		}
		if it == nil {
			return nil, nil
		}
		if l.headTime = it.msg.Time; l.limits.Age <= 0 || time.Since(l.headTime) <= l.limits.Age {
			return it, nil
		}
		l.dropHead(it, ReasonAge)
	}
}

// durableHead finds the first unread message of QoS 1 or 2.
func (l *Lane) durableHead() (*item, *block) {
	q, s := &l.durable, l.store
	if q.unread == 0 {
		return nil, nil
	}
	for b := l.block(); b != nil; b = l.nextBlock() {
		if !b.lanes.has(l.slot) {
			continue
		}
		if !b.loaded {
			return nil, b
		}
		for ; l.idx < len(b.items); l.idx++ {
			it := &b.items[l.idx]
			if it.msg.Seq >= q.from && it.set.bits.has(l.slot) && !l.inHole(it.msg.Seq) {
				return it, nil
			}
		}
	}
	// The disk gave back less than it was given.
	l.count(ReasonDamaged, uint64(q.unread))
	q.unread, q.bytes, q.from = 0, 0, s.seq+1
	s.roomMade()
	return nil, nil
}

// block returns the block of durable.from, or the next one.
func (l *Lane) block() *block {
	if l.cur == nil || l.cur.dead {
		l.seek()
	}
	return l.cur
}

func (l *Lane) seek() {
	s := l.store
	l.cur, l.idx = nil, 0
	i := s.blockAt(l.durable.from)
	if i == len(s.blocks) {
		return
	}
	l.cur = s.blocks[i]
	if l.cur.loaded {
		l.idx = sort.Search(len(l.cur.items), func(i int) bool { return l.cur.items[i].msg.Seq >= l.durable.from })
	}
}

func (l *Lane) nextBlock() *block {
	s := l.store
	i := s.blockAt(l.cur.last + 1)
	l.cur, l.idx = nil, 0
	if i < len(s.blocks) {
		l.cur = s.blocks[i]
	}
	return l.cur
}

func (l *Lane) inHole(seq uint64) bool {
	i := sort.Search(len(l.holes), func(i int) bool { return l.holes[i].to >= seq })
	return i < len(l.holes) && l.holes[i].from <= seq
}

// low returns the first sequence number that the lane may still need from the disk.
func (l *Lane) low() uint64 {
	switch {
	case len(l.owed) > 0 && !l.removed:
		return min(l.owed[0].seq, l.acked+1)
	case l.removed || l.durable.unread == 0 && l.durable.flying == 0:
		return math.MaxUint64
	default:
		return l.acked + 1
	}
}

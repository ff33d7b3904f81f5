package lanes

import (
	"context"
	"math"
	"sort"
	"time"

	"github.com/weft-relay/weft/pipeline/frame"
)

// Lane is the durable first-in-first-out queue of one destination. It has one reader at a time.
type Lane struct {
	store *Store
	name  string
	id    uint64
	slot  int // its bit in every bitset

	// Everything below is guarded by store.mu.
	limits    Limits
	claimed   bool // by Store.Lane since Open
	removed   bool
	dirty     bool   // changed since its last record
	acked     uint64 // every durable message up to here has left the lane
	holes     []span // beyond acked, messages dropped while earlier ones were in flight
	delivered uint64
	dropped   map[string]uint64
	told      map[string]uint64 // of dropped, what the log has said
	durable   queue             // QoS 1 and 2
	volatile  queue             // QoS 0
	reserved  int64             // bytes admitted and not yet published
	flights   []flight
	headTime  time.Time // the head is not older than this
	cur       *block    // where durable.from is, if it is known
	idx       int
	wake      chan struct{} // holds a token when something may have come; the reader waits for it
}

// queue counts what is queued of one kind.
type queue struct {
	from   uint64 // no message before it is unread
	unread int
	bytes  int64 // unread
	flying int64 // bytes in flight
}

func (q *queue) push(seq uint64, size int64) {
	if q.unread == 0 {
		q.from = seq
	}
	q.unread++
	q.bytes += size
}

// pass takes the first unread message off the queue.
func (q *queue) pass(seq uint64, size int64) {
	q.from = seq + 1
	q.unread--
	q.bytes -= size
}

// flight is a message that Next has returned and nobody has acknowledged.
type flight struct {
	seq  uint64
	time time.Time
	size int64
	qos0 bool
}

// span is a run of sequence numbers, both ends included.
type span struct{ from, to uint64 }

// Name returns the name that the lane was made with.
func (l *Lane) Name() string { return l.name }

// ID returns a number that the name alone decides, the same in every store: it stands for the lane on the wire.
func (l *Lane) ID() uint64 { return l.id }

// SetLimits replaces the lane's limits. What is queued beyond them stays until the policy next looks at it.
func (l *Lane) SetLimits(limits Limits) {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.limits = limits
	l.store.roomMade()
}

// Next returns the messages after the last ones it returned, in order: at least one and at most limit, and of more than
// maxBytes (by [Size]) only the first. It waits until there is one. The error is the context's, or [ErrClosed].
// The messages are shared with other readers and must not be changed.
func (l *Lane) Next(ctx context.Context, limit, maxBytes int) ([]frame.Message, error) {
	for {
		msgs, _, err := l.take(limit, maxBytes, false)
		if len(msgs) > 0 || err != nil {
			return msgs, err
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// More returns the next messages of a batch that Next has begun: at most limit and never more than maxBytes. It waits until
// there is one, and returns none when the context ends first, when the next one does not fit, or when the store is closed.
func (l *Lane) More(ctx context.Context, limit, maxBytes int) []frame.Message {
	for {
		msgs, full, err := l.take(limit, maxBytes, true)
		if len(msgs) > 0 || full || err != nil {
			return msgs
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// take returns what can be had now. full means that there is more and it does not fit.
func (l *Lane) take(limit, maxBytes int, strict bool) (msgs []frame.Message, full bool, err error) {
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
		s.load(missing)
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
	if n := len(l.holes); n == 0 || seq > l.holes[n-1].to {
		return false
	}
	for _, h := range l.holes {
		if seq >= h.from && seq <= h.to {
			return true
		}
	}
	return false
}

// Ack says that every message that Next has returned with a sequence number up to upTo has left the lane for good. It is not
// on the disk at once: after a crash such a message may be returned again, under the same number, and the receiver drops it.
func (l *Lane) Ack(upTo uint64) { l.settle(upTo, "") }

// Drop is Ack for messages that can never be delivered: they count as dropped for that reason.
func (l *Lane) Drop(upTo uint64, reason string) { l.settle(upTo, reason) }

func (l *Lane) settle(upTo uint64, reason string) {
	s := l.store
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for ; n < len(l.flights) && l.flights[n].seq <= upTo; n++ {
		f := l.flights[n]
		if f.qos0 {
			l.volatile.flying -= f.size
		} else {
			l.durable.flying -= f.size
			l.acked = f.seq
		}
	}
	if n == 0 {
		return
	}
	l.flights = l.flights[:copy(l.flights, l.flights[n:])]
	if len(l.flights) == 0 && cap(l.flights) > 256 {
		l.flights = nil // a lane at rest keeps nothing
	}
	if reason != "" {
		l.count(reason, uint64(n))
	} else {
		l.delivered += uint64(n)
	}
	l.settled()
	s.roomMade()
}

// settled moves acked over what lies between the last message in flight and the first unread one.
func (l *Lane) settled() {
	l.markDirty()
	if l.durable.flying == 0 && l.durable.from > 0 {
		l.acked = max(l.acked, l.durable.from-1)
	}
	keep := l.holes[:0]
	for _, h := range l.holes {
		if h.to > l.acked {
			keep = append(keep, h)
		}
	}
	l.holes = keep
	if len(l.holes) == 0 {
		l.holes = nil
	}
}

func (l *Lane) markDirty() {
	if !l.dirty {
		l.dirty = true
		l.store.dirty = append(l.store.dirty, l)
	}
}

// count adds n messages to those dropped for that reason.
func (l *Lane) count(reason string, n uint64) {
	if n == 0 {
		return
	}
	if l.dropped == nil {
		l.dropped = map[string]uint64{}
	}
	l.dropped[reason] += n
	l.markDirty()
}

// Rewind makes Next return everything again that is in flight, in the same order: for a reader that starts anew.
func (l *Lane) Rewind() {
	s := l.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(l.flights) - 1; i >= 0; i-- {
		f := l.flights[i]
		q := &l.durable
		if f.qos0 {
			q = &l.volatile
			if !s.ring.holds(f.seq) {
				l.count(ReasonQoS0, 1)
				continue
			}
		}
		q.unread++
		q.bytes += f.size
		q.from = f.seq
	}
	l.flights, l.durable.flying, l.volatile.flying, l.cur = nil, 0, 0, nil
	l.notify()
}

// notify tells the reader to look.
func (l *Lane) notify() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Stats returns the lane's account at this instant.
func (l *Lane) Stats() Stats {
	s := l.store
	for {
		s.mu.Lock()
		it, missing := l.head()
		if missing == nil || s.closed || len(l.flights) > 0 {
			defer s.mu.Unlock()
			return l.stats(it)
		}
		s.mu.Unlock()
		s.load(missing)
	}
}

func (l *Lane) stats(head *item) Stats {
	st := Stats{
		Depth:     l.durable.unread + l.volatile.unread + len(l.flights),
		InFlight:  len(l.flights),
		Bytes:     l.durable.bytes + l.durable.flying + l.volatile.bytes + l.volatile.flying,
		Delivered: l.delivered,
	}
	st.In = l.delivered + uint64(st.Depth)
	for reason, n := range l.dropped {
		if n == 0 { // counted, and the batch then failed
			continue
		}
		if st.Dropped == nil {
			st.Dropped = make(map[string]uint64, len(l.dropped))
		}
		st.Dropped[reason] = n
		st.In += n
	}
	switch {
	case len(l.flights) > 0:
		st.Oldest = l.flights[0].time
	case head != nil:
		st.Oldest = head.msg.Time
	}
	return st
}

// low returns the first sequence number that the lane may still need from the disk.
func (l *Lane) low() uint64 {
	switch {
	case l.removed || l.durable.unread == 0 && l.durable.flying == 0:
		return math.MaxUint64
	default:
		return l.acked + 1
	}
}

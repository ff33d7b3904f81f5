package lanes

import (
	"context"
	"slices"
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
	dirty     bool     // changed since its last record
	acked     uint64   // every durable message up to here has left the lane
	holes     []span   // beyond acked, messages that left while earlier ones were in flight
	owed      []flight // in order: gone to another lane with a batch that failed; on the disk they are still here
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

// ID returns a number that the name alone decides, the same in every store.
func (l *Lane) ID() uint64 { return l.id }

// Over returns a number that the names of the lane and the transport decide: it stands on the wire for what of the lane goes over
// that transport. What another network still holds of the lane is neither older nor newer than that.
func (l *Lane) Over(transport string) uint64 { return laneID(l.name + "@" + transport) }

// Empty reports whether nothing is queued or in flight.
func (l *Lane) Empty() bool {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	return l.durable.unread+l.volatile.unread+len(l.flights) == 0
}

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
		msgs, _, err := l.take(ctx, limit, maxBytes, false)
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
		msgs, full, err := l.take(ctx, limit, maxBytes, true)
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
	for _, f := range slices.Backward(l.flights) {
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
	for unreadable := false; ; {
		s.mu.Lock()
		it, missing := l.head()
		if missing == nil || unreadable || s.closed || len(l.flights) > 0 {
			defer s.mu.Unlock()
			return l.stats(it)
		}
		s.mu.Unlock()
		unreadable = s.load(missing) != nil
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

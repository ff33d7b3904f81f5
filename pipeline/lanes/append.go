package lanes

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Append stores entries, in order, and sets the Seq of their messages. It returns when all that are not QoS 0 are on the disk,
// packet identifiers included; callers that wait at the same time share one write and one fdatasync. QoS 0 messages are queued
// in memory in their place among the others and wait for nothing.
//
// While a lane with the policy [Block] has no room, Append waits. On an error (the context's, [ErrClosed], or of the disk) the
// entries that were stored are the first ones, those with a Seq other than 0, and no trace is left of the others; it can be
// called again with those, and works again when the disk does.
func (s *Store) Append(ctx context.Context, entries []Entry) error {
	durable := false
	for i := range entries {
		e := &entries[i]
		if len(e.Message.Topic) > math.MaxUint16 {
			return fmt.Errorf("topic of %d bytes: longer than MQTT allows", len(e.Message.Topic))
		}
		if e.Message.QoS > 2 {
			return fmt.Errorf("QoS %d: more than MQTT has", e.Message.QoS)
		}
		e.Message.Seq = 0
		durable = durable || e.Message.QoS > 0 || e.PacketID != 0 || e.Done.Origin != ""
	}
	for len(entries) > 0 {
		n, err := s.appendSome(ctx, entries, durable)
		if err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// appendSome stores as many entries as there is room for now. If there is none it waits until that may have changed.
func (s *Store) appendSome(ctx context.Context, entries []Entry, durable bool) (n int, err error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, ErrClosed
	}
	why, missing := admitted, (*block)(nil)
	for ; n < len(entries); n++ {
		var taking []*Lane
		if taking, why, missing = s.admit(&entries[n]); why != admitted {
			break
		}
		s.enqueue(&entries[n], taking, durable)
	}
	if n > 0 {
		s.writeUrgent()
	}
	b := s.pend
	wait := durable && n > 0 || why == mustCommit
	if wait {
		b.work, b.sync = true, true
	}
	var room <-chan struct{}
	if n == 0 && !wait && missing == nil {
		room = s.roomAhead()
	}
	s.mu.Unlock()
	switch {
	case wait:
		return n, s.await(b, entries[:n])
	case missing != nil:
		return n, s.fetch(ctx, missing)
	case room != nil:
		return 0, s.waitForRoom(ctx, room)
	}
	return n, nil
}

// await waits for a batch, whatever becomes of the caller meanwhile: its outcome decides what the caller may acknowledge.
func (s *Store) await(b *batch, entries []Entry) error {
	select {
	case s.kick <- struct{}{}:
	default:
	}
	<-b.done
	if b.err != nil {
		for i := range entries {
			entries[i].Message.Seq = 0
		}
	}
	return b.err
}

type verdict int

const (
	admitted   verdict = iota
	mustWait           // until the lane has room, or a block is in memory
	mustCommit         // what is being written, because that is what must make room
)

// admit decides which of an entry's lanes take it, and reserves room in them.
func (s *Store) admit(e *Entry) ([]*Lane, verdict, *block) {
	if e.Message.QoS == 0 {
		return e.Lanes, admitted, nil
	}
	size := int64(Size(&e.Message))
	for _, l := range e.Lanes { // before anything is dropped for a message that must wait
		if l.mustWait(size) {
			return nil, mustWait, nil
		}
	}
	for _, l := range e.Lanes {
		if verdict, missing := l.makeRoom(size); verdict != admitted {
			return nil, verdict, missing
		}
	}
	taking := e.Lanes
	for i, l := range e.Lanes {
		reason := l.refuses(size)
		switch {
		case reason != "":
			if len(taking) == len(e.Lanes) {
				taking = append([]*Lane(nil), e.Lanes[:i]...)
			}
			l.count(reason, 1)
			l.markUrgent()
			s.pend.refused = append(s.pend.refused, refusal{l, reason})
		case len(taking) != len(e.Lanes):
			taking = append(taking, l)
			fallthrough
		default:
			l.reserved += size
		}
	}
	return taking, admitted, nil
}

func (l *Lane) fits(size int64) bool {
	return l.limits.Bytes <= 0 || l.removed || l.durable.bytes+l.durable.flying+l.reserved+size <= l.limits.Bytes
}

// mustWait reports whether the lane is full and its policy is to wait until it is not.
func (l *Lane) mustWait(size int64) bool {
	waits := l.limits.WhenFull != DropNew && l.limits.WhenFull != DropOldest
	return waits && size <= l.limits.Bytes && !l.fits(size)
}

// makeRoom drops what the policy says. That may be something that is not in memory, or not visible yet.
func (l *Lane) makeRoom(size int64) (verdict, *block) {
	if l.limits.WhenFull != DropOldest || size > l.limits.Bytes {
		return admitted, nil
	}
	for !l.fits(size) && l.durable.unread > 0 {
		it, missing := l.durableHead()
		if missing != nil {
			return mustWait, missing
		}
		if it != nil {
			l.dropHead(it, ReasonFull)
			l.markUrgent()
		}
	}
	if !l.fits(size) && l.reserved > 0 {
		return mustCommit, nil
	}
	return admitted, nil
}

// refuses returns why the lane does not take a message, or "" if it does. The lane has no room for it or makeRoom made some.
func (l *Lane) refuses(size int64) string {
	switch {
	case l.fits(size):
		return ""
	case size > l.limits.Bytes:
		return ReasonTooLarge
	default:
		return ReasonFull
	}
}

// dropHead takes the head of the lane, which is not in flight, out of it.
func (l *Lane) dropHead(it *item, reason string) {
	seq := it.msg.Seq
	l.queueOf(it).pass(seq, int64(Size(&it.msg)))
	l.count(reason, 1)
	if it.msg.QoS == 0 {
		return
	}
	if l.durable.flying == 0 {
		l.settled()
		l.store.roomMade()
		return
	}
	i := sort.Search(len(l.holes), func(i int) bool { return l.holes[i].from > seq })
	if i > 0 && l.flights[len(l.flights)-1].seq < l.holes[i-1].from {
		l.holes[i-1].to = seq
		return
	}
	l.holes = slices.Insert(l.holes, i, span{seq, seq})
}

// markUrgent makes the batch that is being filled record the lane: it holds a message that was traded for a dropped one, or that stems
// from one of the lane's.
func (l *Lane) markUrgent() {
	if s := l.store; len(s.urgent) == 0 || s.urgent[len(s.urgent)-1] != l {
		s.urgent = append(s.urgent, l)
	}
}

func (s *Store) writeUrgent() {
	for _, l := range s.urgent {
		if l.dirty {
			s.writeLane(l)
		}
	}
	s.urgent = s.urgent[:0]
}

// enqueue gives an admitted entry its number and encodes it into the batch that is being filled.
func (s *Store) enqueue(e *Entry, lanes []*Lane, durable bool) {
	s.seq++
	e.Message.Seq = s.seq
	it := pending{item: item{msg: e.Message}, tied: durable}
	if len(lanes) > 0 {
		it.set = s.fanoutOf(lanes)
	}
	switch {
	case e.Message.QoS > 0 && it.set != nil:
		s.encode(&it, e.PacketID)
	case e.PacketID != 0:
		s.state(recReceive, func(b []byte) []byte { return le.AppendUint16(b, e.PacketID) })
	}
	if e.PacketID != 0 {
		s.pend.ids = append(s.pend.ids, e.PacketID)
	}
	if e.Done.Origin != "" {
		s.state(recDone, func(b []byte) []byte { return appendMark(b, e.Done.Origin, e.Done.key(), e.Done.Seq) })
		s.pend.marks = append(s.pend.marks, e.Done)
	}
	if e.Source != nil && e.Source.spend(e.Spent, durable) {
		e.Source.markUrgent()
	}
	switch {
	case it.set == nil:
	case !durable && len(s.pend.items) == 0 && s.flying == nil:
		s.publish(&it)
	default:
		s.pend.items = append(s.pend.items, it)
	}
}

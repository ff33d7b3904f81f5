package lanes

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Leave is Drop for single messages that Next has returned, whatever is in flight before them.
func (l *Lane) Leave(seqs []uint64, reason string) {
	s := l.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seq := range seqs {
		if _, ok := l.leave(seq); ok {
			l.count(reason, 1)
		}
	}
}

// leave takes one message in flight out of the lane, if it is there.
func (l *Lane) leave(seq uint64) (f flight, ok bool) {
	i, ok := slices.BinarySearchFunc(l.flights, seq, func(f flight, seq uint64) int { return cmp.Compare(f.seq, seq) })
	if !ok {
		return f, false
	}
	f = l.flights[i]
	l.flights = slices.Delete(l.flights, i, i+1)
	switch before := slices.ContainsFunc(l.flights[:i], func(f flight) bool { return !f.qos0 }); {
	case f.qos0:
		l.volatile.flying -= f.size
	case before:
		l.durable.flying -= f.size
		l.addHole(seq, l.flights[:i], l.flights[i:])
	default:
		l.durable.flying -= f.size
		l.acked = seq
	}
	l.settled()
	l.store.roomMade()
	return f, true
}

// addHole adds a message to the holes: one with all others between what is in flight before it and what is in the lane after it.
func (l *Lane) addHole(seq uint64, before, after []flight) {
	whole := span{seq, seq}
	low, high := before[len(before)-1].seq, uint64(math.MaxUint64)
	switch {
	case len(after) > 0:
		high = after[0].seq
	case l.durable.unread > 0:
		high = l.durable.from
	}
	i := sort.Search(len(l.holes), func(i int) bool { return l.holes[i].to > low })
	j := i
	for ; j < len(l.holes) && l.holes[j].from < high; j++ {
		whole.from, whole.to = min(whole.from, l.holes[j].from), max(whole.to, l.holes[j].to)
	}
	l.holes = slices.Replace(l.holes, i, j, whole)
}

// spend takes a message in flight out of the lane with the batch that is being filled. It is tied to that unless what becomes of it is in
// memory only, and so there whatever becomes of the batch.
func (l *Lane) spend(seq uint64, tied bool) bool {
	f, ok := l.leave(seq)
	if ok {
		l.delivered++
	}
	if i := slices.IndexFunc(l.owed, func(f flight) bool { return f.seq == seq }); i >= 0 {
		f, ok = l.owed[i], true
		l.owed = slices.Delete(l.owed, i, i+1)
		l.markDirty()
	}
	if ok && tied && !f.qos0 {
		l.store.pend.spent = append(l.store.pend.spent, spent{l, f})
	}
	return ok
}

// owe says that the batch with which a message has left could not be written. Whoever has the message tries again; until that
// succeeds, it is in the lane for whoever reads the journal.
func (l *Lane) owe(f flight) {
	i, _ := slices.BinarySearchFunc(l.owed, f, func(a, b flight) int { return cmp.Compare(a.seq, b.seq) })
	l.owed = slices.Insert(l.owed, i, f)
	l.markDirty()
}

// recorded returns acked and holes as they are to be on the disk.
func (l *Lane) recorded() (acked uint64, holes []span) {
	if len(l.owed) == 0 {
		return l.acked, l.holes
	}
	acked = min(l.acked, l.owed[0].seq-1)
	if acked < l.acked {
		holes = append(holes, span{acked + 1, l.acked})
	}
	holes = append(holes, l.holes...)
	for _, f := range l.owed {
		holes = without(holes, f.seq)
	}
	return acked, holes
}

// without returns the spans without one number.
func without(spans []span, seq uint64) []span {
	var rest []span
	for _, h := range spans {
		if seq < h.from || seq > h.to {
			rest = append(rest, h)
			continue
		}
		if h.from < seq {
			rest = append(rest, span{h.from, seq - 1})
		}
		if seq < h.to {
			rest = append(rest, span{seq + 1, h.to})
		}
	}
	return rest
}

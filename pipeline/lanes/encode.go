package lanes

import "slices"

// encoder knows where the next record goes.
type encoder struct {
	seg   *segment
	seed  uint32
	block *block             // the open one; nil at the start of a segment
	sets  map[uint64]*fanout // seen since the block began, by a hash of their lanes
	last  *fanout
}

// batch is what one write takes to the disk.
type batch struct {
	seg     *segment
	base    int64 // where buf goes
	buf     []byte
	items   []pending
	ids     []uint16  // packet identifiers that it records
	marks   []ID      // how far lanes of other nodes are done, by what it records
	spent   []spent   // messages that leave their lanes with it
	refused []refusal // counted already
	work    bool      // there is something to write
	sync    bool      // somebody waits for it
	session bool      // it changes the MQTT session: never left in the kernel's memory alone
	done    chan struct{}
	err     error // valid when done is closed
}

// pending is a message that is encoded and not yet visible.
type pending struct {
	item
	block *block
	tied  bool // its Append fails if the batch does
}

type refusal struct {
	lane   *Lane
	reason string
}

// spent is a message that has left its lane for another one.
type spent struct {
	lane *Lane
	flight
}

// newBatch begins the batch after one that ends at offset base of the segment that is written to, or in a new segment.
func (s *Store) newBatch(base int64, fresh bool, buf []byte) *batch {
	b := &batch{buf: buf[:0], base: base, done: make(chan struct{})}
	s.pend = b
	if fresh {
		n := s.nextSegment
		s.nextSegment++
		seg := &segment{number: n, through: n, path: s.segmentPath(n)}
		s.segs = append(s.segs, seg)
		s.enc = encoder{seg: seg, seed: seedOf(n), sets: map[uint64]*fanout{}}
		b.base = 0
		b.buf = header{epoch: s.epoch, boot: s.boot, through: n}.append(b.buf)
		unwritten := slices.ContainsFunc(s.dirty, func(l *Lane) bool { return l.dirty && !l.removed })
		s.writeCheckpoint()
		b.work = unwritten // what lanes are like by now is nowhere else
	}
	b.seg = s.enc.seg
	return b
}

// state encodes one record that is no message.
func (s *Store) state(t recordType, body func([]byte) []byte) {
	b := s.pend
	start := len(b.buf)
	b.buf = finish(body(begin(b.buf, t)), start, s.enc.seed)
	b.work = true
}

// encode writes a message's record, and before it what a reader needs to understand it.
func (s *Store) encode(it *pending, packetID uint16) {
	b, end := s.pend, s.pend.base+int64(len(s.pend.buf))
	if s.enc.block == nil || end-s.enc.block.off >= blockBytes {
		s.enc.block = &block{seg: s.enc.seg, off: end, end: end, first: it.msg.Seq}
		s.forgetSets()
		s.enc.sets[hashOf(it.set.lanes)] = it.set
		s.enc.last = it.set
		s.state(recBlock, func(b []byte) []byte { return le.AppendUint64(b, it.msg.Seq) })
	}
	if !it.set.emitted {
		it.set.emitted = true
		it.set.id = it.msg.Seq
		s.state(recSet, func(b []byte) []byte { return appendSet(b, it.set) })
	}
	start := len(b.buf)
	b.buf = begin(b.buf, recMessage)
	b.buf = finish(appendMessage(b.buf, &it.msg, it.set.id, packetID), start, s.enc.seed)
	it.end = b.base + int64(len(b.buf))
	it.block = s.enc.block
	it.block.pending++
}

func appendSet(b []byte, set *fanout) []byte {
	b = le.AppendUint64(b, set.id)
	for _, l := range set.lanes {
		b = le.AppendUint64(b, l.id)
	}
	return b
}

// forgetSets makes every set be written again before it is used again.
func (s *Store) forgetSets() {
	for _, set := range s.enc.sets {
		set.emitted = false
	}
	clear(s.enc.sets)
	s.enc.last = nil
}

// maxSets bounds the sets that are remembered while nothing durable, and so no block, comes by.
const maxSets = 4096

// fanoutOf returns the set of those lanes; the same one again while the block lasts.
func (s *Store) fanoutOf(lanes []*Lane) *fanout {
	if s.enc.last != nil && slices.Equal(s.enc.last.given, lanes) {
		return s.enc.last
	}
	if len(s.enc.sets) >= maxSets {
		s.forgetSets()
	}
	h := hashOf(lanes)
	set := s.enc.sets[h]
	if set == nil || !slices.Equal(set.given, lanes) {
		set = newFanout(lanes)
		s.enc.sets[h] = set
	}
	s.enc.last = set
	return set
}

func hashOf(lanes []*Lane) uint64 {
	h := uint64(14695981039346656037) // FNV-1a's offset and prime
	for _, l := range lanes {
		h = (h ^ l.id) * 1099511628211
	}
	return h
}

func newFanout(lanes []*Lane) *fanout {
	set := &fanout{given: slices.Clone(lanes)}
	for _, l := range lanes {
		if !set.bits.has(l.slot) {
			set.bits.add(l.slot)
			set.lanes = append(set.lanes, l)
		}
	}
	return set
}

// writeLane records the whole state of a lane.
func (s *Store) writeLane(l *Lane) {
	l.dirty = false
	s.state(recLane, l.append)
}

// writeDirty records every lane that has changed since its last record.
func (s *Store) writeDirty() {
	for _, l := range s.dirty {
		if l.dirty && !l.removed {
			s.writeLane(l)
		}
		l.dirty = false
	}
	s.dirty = s.dirty[:0]
}

// append writes a lane's state: id, name, acked, delivered, dropped by reason, holes.
func (l *Lane) append(b []byte) []byte {
	b = le.AppendUint64(b, l.id)
	b = appendString(b, l.name)
	acked, holes := l.recorded()
	b = le.AppendUint64(b, acked)
	b = le.AppendUint64(b, l.delivered)
	b = le.AppendUint16(b, uint16(len(l.dropped)))
	for reason, n := range l.dropped {
		b = le.AppendUint64(appendString(b, reason), n)
	}
	for _, h := range holes {
		b = le.AppendUint64(le.AppendUint64(b, h.from), h.to)
	}
	return b
}

// parse reads what append wrote, after the id.
func (l *Lane) parse(f *fields) {
	name, acked, delivered := f.string(), f.u64(), f.u64()
	dropped := map[string]uint64{}
	for n := f.u16(); n > 0 && !f.bad; n-- {
		reason := f.string()
		dropped[reason] = f.u64()
	}
	var holes []span
	for f.more() {
		holes = append(holes, span{f.u64(), f.u64()})
	}
	if !f.bad {
		l.name, l.acked, l.delivered, l.dropped, l.holes = name, acked, delivered, dropped, holes
	}
}

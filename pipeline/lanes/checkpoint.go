package lanes

import (
	"maps"
	"slices"
)

// writeCheckpoint writes everything but the messages, so that no earlier segment is needed for it.
func (s *Store) writeCheckpoint() {
	s.state(recCheckpoint, func(b []byte) []byte { return b })
	for _, l := range s.lanes {
		if !l.removed {
			s.writeLane(l)
		}
	}
	st := &s.session
	for _, id := range st.inOrder() {
		p := st.packets[id]
		s.state(recPacket, func(b []byte) []byte {
			return append(appendString(le.AppendUint16(b, id), p.uuid), p.bytes...)
		})
	}
	for id := range st.received {
		s.state(recReceive, idBody(id))
	}
	if s.flying != nil {
		for _, id := range s.flying.ids { // received as soon as the write that is under way has ended well
			s.state(recReceive, idBody(id))
		}
		for _, id := range s.flying.marks {
			s.state(recDone, func(b []byte) []byte { return appendMark(b, id.Origin, id.key(), id.Seq) })
		}
	}
	s.state(recSubscriptions, st.appendSubscriptions)
	for name, o := range st.origins {
		for _, key := range slices.SortedFunc(maps.Keys(o.marks), o.byUse) {
			s.writeMark(name, key, o.marks[key])
		}
	}
	s.state(recCheckpointEnd, func(b []byte) []byte { return b })
}

// byUse orders marks so that reading them in that order remembers which was used last.
func (o *origin) byUse(a, b markKey) int {
	if o.marks[a].used < o.marks[b].used {
		return -1
	}
	return 1
}

func (s *Store) writeMark(name string, key markKey, m *mark) {
	if m.known {
		s.state(recDone, func(b []byte) []byte { return appendMark(b, name, key, m.done) })
	}
	if len(m.handed) > 0 {
		s.state(recHanded, func(b []byte) []byte {
			b = le.AppendUint64(le.AppendUint64(appendString(b, name), key.lane), key.epoch)
			for seq := range m.handed {
				b = le.AppendUint64(b, seq)
			}
			return b
		})
	}
}

// replay applies the records of the journal, oldest first, to a store that nobody else knows yet.
type replay struct {
	s       *Store
	stale   *stale // set between a checkpoint's begin and end
	holed   bool   // the checkpoint is damaged
	removed map[uint64]bool
}

// stale is what was known before a checkpoint began and has not been in it so far.
type stale struct {
	lanes    map[uint64]bool
	packets  map[uint16]bool
	received map[uint16]bool
}

// damage says that bytes were left out at this place.
func (r *replay) damage() { r.holed = true }

// endSegment says that a segment ends here: a checkpoint that is still open is not whole.
func (r *replay) endSegment() { r.stale = nil }

// apply takes one record.
func (r *replay) apply(t recordType, body []byte) {
	f := &fields{b: body}
	st := &r.s.session
	switch t {
	case recLane:
		r.lane(f)
	case recRemoved:
		r.remove(f.u64())
	case recPacket:
		id, uuid := f.u16(), f.string()
		if !f.bad {
			st.put(id, uuid, slices.Clone(f.b))
			r.fresh(func(s *stale) { delete(s.packets, id) })
		}
	case recDelPacket:
		delete(st.packets, f.u16())
	case recReceive:
		r.receive(f.u16())
	case recForget:
		delete(st.received, f.u16())
	case recSubscriptions:
		r.subscriptions(f)
	case recReset:
		st.reset()
	case recDone, recHanded:
		r.mark(t, f)
	case recCheckpoint:
		r.begin()
	case recCheckpointEnd:
		r.end()
	}
}

func (r *replay) fresh(f func(*stale)) {
	if r.stale != nil {
		f(r.stale)
	}
}

func (r *replay) lane(f *fields) {
	id := f.u64()
	if f.bad {
		return
	}
	l := r.s.byID[id]
	if l == nil {
		l = r.s.newLane(id)
	}
	delete(r.removed, id)
	l.parse(f)
	r.fresh(func(s *stale) { delete(s.lanes, id) })
}

func (r *replay) remove(id uint64) {
	if l := r.s.byID[id]; l != nil {
		l.removed, r.removed[id] = true, true
		delete(r.s.byID, id)
	}
}

func (r *replay) receive(id uint16) {
	if id == 0 {
		return
	}
	r.s.session.received[id] = struct{}{}
	r.fresh(func(s *stale) { delete(s.received, id) })
}

func (r *replay) subscriptions(f *fields) {
	subs := map[string]byte{}
	for f.more() {
		filter := f.string()
		subs[filter] = f.u8()
	}
	if !f.bad {
		r.s.session.subscriptions = subs
	}
}

func (r *replay) mark(t recordType, f *fields) {
	name, key := f.string(), markKey{f.u64(), f.u64()}
	if t == recDone {
		if seq := f.u64(); !f.bad {
			r.s.session.setDone(name, key, seq)
		}
		return
	}
	for f.more() {
		if seq := f.u64(); !f.bad {
			r.s.session.hand(ID{Origin: name, Lane: key.lane, Epoch: key.epoch, Seq: seq})
		}
	}
}

// begin notes what is known. Marks only grow, so they are kept whatever the checkpoint says.
func (r *replay) begin() {
	r.holed = false
	r.stale = &stale{lanes: map[uint64]bool{}, packets: map[uint16]bool{}, received: map[uint16]bool{}}
	for id := range r.s.byID {
		r.stale.lanes[id] = true
	}
	for id := range r.s.session.packets {
		r.stale.packets[id] = true
	}
	for id := range r.s.session.received {
		r.stale.received[id] = true
	}
}

// end forgets what a whole checkpoint did not know any more. From a damaged one nothing can be concluded.
func (r *replay) end() {
	if r.stale == nil || r.holed {
		r.stale = nil
		return
	}
	for id := range r.stale.lanes {
		r.remove(id)
	}
	for id := range r.stale.packets {
		delete(r.s.session.packets, id)
	}
	for id := range r.stale.received {
		delete(r.s.session.received, id)
	}
	r.stale = nil
}

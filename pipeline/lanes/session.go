package lanes

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// session is what an MQTT client must not forget, and what it has handed over of other nodes' lanes.
type session struct {
	packets       map[uint16]*packet
	puts          uint64 // counts first puts, so that packets keep their order
	received      map[uint16]struct{}
	subscriptions map[string]byte
	origins       map[string]*origin
}

type packet struct {
	order uint64
	uuid  string
	bytes []byte
}

// origin is another node.
type origin struct {
	marks map[markKey]*mark
	uses  uint64
}

type markKey struct{ lane, epoch uint64 }

// mark is how far a lane of another node has got here.
type mark struct {
	done   uint64 // everything up to here was taken over by the local broker
	known  bool   // done was ever set
	handed map[uint64]struct{}
	used   uint64 // when, by the origin's count
}

// maxMarks bounds the lanes and epochs that are remembered of one origin; the one not used for longest goes.
const maxMarks = 1024

func newSession() session {
	return session{
		packets:       map[uint16]*packet{},
		received:      map[uint16]struct{}{},
		subscriptions: map[string]byte{},
		origins:       map[string]*origin{},
	}
}

func (s *session) put(id uint16, uuid string, bytes []byte) {
	p := s.packets[id]
	if p == nil {
		s.puts++
		p = &packet{order: s.puts}
		s.packets[id] = p
	}
	p.bytes = slices.Clone(bytes)
	if uuid == "" {
		return
	}
	p.uuid = uuid
	if id, ok := ParseID(uuid); ok {
		s.hand(id)
	}
}

func (s *session) hand(id ID) {
	m := s.mark(id.Origin, markKey{id.Lane, id.Epoch})
	if m.known && id.Seq <= m.done {
		return
	}
	if m.handed == nil {
		m.handed = map[uint64]struct{}{}
	}
	m.handed[id.Seq] = struct{}{}
}

// mark returns the mark of a lane, and makes it if there is none.
func (s *session) mark(name string, key markKey) *mark {
	o := s.origins[name]
	if o == nil {
		o = &origin{marks: map[markKey]*mark{}}
		s.origins[name] = o
	}
	m := o.marks[key]
	if m == nil {
		if len(o.marks) >= maxMarks {
			o.evict()
		}
		m = &mark{}
		o.marks[key] = m
	}
	o.uses++
	m.used = o.uses
	return m
}

func (o *origin) evict() {
	var oldest markKey
	used := o.uses + 1
	for k, m := range o.marks {
		if m.used < used {
			oldest, used = k, m.used
		}
	}
	delete(o.marks, oldest)
}

func (s *session) find(name string, key markKey) *mark {
	if o := s.origins[name]; o != nil {
		return o.marks[key]
	}
	return nil
}

func (s *session) setDone(name string, key markKey, seq uint64) {
	m := s.mark(name, key)
	m.done, m.known = max(m.done, seq), true
	for h := range m.handed {
		if h <= m.done {
			delete(m.handed, h)
		}
	}
	if len(m.handed) == 0 {
		m.handed = nil
	}
}

func (s *session) reset() {
	clear(s.packets)
	clear(s.received)
	clear(s.subscriptions)
}

func (s *session) inOrder() []uint16 {
	ids := slices.Collect(maps.Keys(s.packets))
	slices.SortFunc(ids, func(a, b uint16) int { return cmp.Compare(s.packets[a].order, s.packets[b].order) })
	return ids
}

// PutPacket remembers an outgoing MQTT packet under its packet identifier until [Store.DelPacket]: a PUBLISH, with the UUID of
// the message that it carries, and then in its place the PUBREL, with none. If uuid is an [ID], that message counts as handed
// over from now on. The store keeps bytes.
func (s *Store) PutPacket(id uint16, uuid string, bytes []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session.put(id, uuid, bytes)
	s.sessionState(recPacket, func(b []byte) []byte {
		return append(appendString(le.AppendUint16(b, id), uuid), bytes...)
	})
}

// DelPacket forgets a packet. The message that it carried stays handed over.
func (s *Store) DelPacket(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.session.packets[id]; !ok {
		return
	}
	delete(s.session.packets, id)
	s.sessionState(recDelPacket, idBody(id))
}

// Packets returns the packets that are remembered, in the order in which they were first put.
func (s *Store) Packets() iter.Seq2[uint16, []byte] {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.session.inOrder()
	packets := make([][]byte, len(ids))
	for i, id := range ids {
		packets[i] = s.session.packets[id].bytes
	}
	return func(yield func(uint16, []byte) bool) {
		for i, id := range ids {
			if !yield(id, packets[i]) {
				return
			}
		}
	}
}

// Receive remembers the packet identifier of an incoming QoS 2 message until [Store.Forget], and reports whether that is news. It
// is none after [Store.Append], which does so too, and then it is on the disk.
func (s *Store) Receive(id uint16) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.session.received[id]; ok {
		return false
	}
	s.session.received[id] = struct{}{}
	s.sessionState(recReceive, idBody(id))
	return true
}

// Received reports whether the message under that packet identifier is stored.
func (s *Store) Received(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.session.received[id]
	return ok
}

// Forget says that the packet identifier may come again for another message.
func (s *Store) Forget(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.session.received[id]; !ok {
		return
	}
	delete(s.session.received, id)
	s.sessionState(recForget, idBody(id))
}

func idBody(id uint16) func([]byte) []byte {
	return func(b []byte) []byte { return le.AppendUint16(b, id) }
}

// Subscriptions returns what the broker's session is subscribed to: filters and their QoS.
func (s *Store) Subscriptions() map[string]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.session.subscriptions)
}

// SetSubscriptions replaces what [Store.Subscriptions] returns.
func (s *Store) SetSubscriptions(subscriptions map[string]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session.subscriptions = maps.Clone(subscriptions)
	if s.session.subscriptions == nil {
		s.session.subscriptions = map[string]byte{}
	}
	s.sessionState(recSubscriptions, s.session.appendSubscriptions)
}

func (s *session) appendSubscriptions(b []byte) []byte {
	for filter, qos := range s.subscriptions {
		b = append(appendString(b, filter), qos)
	}
	return b
}

// Reset says that the broker has no session any more: packets, received identifiers and subscriptions are forgotten.
// What was handed over stays so.
func (s *Store) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session.reset()
	s.sessionState(recReset, func(b []byte) []byte { return b })
}

// Sync returns when every change of the session is on the disk; at once if there was none. It shares its write with Append.
// After an error the changes are still remembered, and the next Sync tries again.
func (s *Store) Sync() error {
	s.mu.Lock()
	b := s.flying
	switch {
	case s.pend.session:
		b = s.pend
		b.sync = true
	case b == nil || !b.session:
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	return s.await(b, nil)
}

func (s *Store) sessionState(t recordType, body func([]byte) []byte) {
	s.state(t, body)
	s.pend.session = true
}

// Handed reports whether the message of that UUID, an [ID], was ever given to [Store.PutPacket], or is done.
func (s *Store) Handed(uuid string) bool {
	id, ok := ParseID(uuid)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.session.find(id.Origin, markKey{id.Lane, id.Epoch})
	if m == nil {
		return false
	}
	_, handed := m.handed[id.Seq]
	return handed || m.known && id.Seq <= m.done
}

// Done returns up to where a lane of another node was taken over by the local broker, if that is known.
func (s *Store) Done(origin string, lane, epoch uint64) (seq uint64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.session.find(origin, markKey{lane, epoch}); m != nil {
		return m.done, m.known
	}
	return 0, false
}

// SetDone says that everything up to seq of a lane of another node was taken over by the local broker. It is written within
// Options.FlushPeriod; nobody waits for it. Of one origin the 1,024 lanes and epochs used last are remembered.
func (s *Store) SetDone(origin string, lane, epoch, seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session.setDone(origin, markKey{lane, epoch}, seq)
	s.state(recDone, func(b []byte) []byte { return appendMark(b, origin, markKey{lane, epoch}, seq) })
}

func appendMark(b []byte, origin string, key markKey, seq uint64) []byte {
	b = appendString(b, origin)
	b = le.AppendUint64(b, key.lane)
	b = le.AppendUint64(b, key.epoch)
	return le.AppendUint64(b, seq)
}

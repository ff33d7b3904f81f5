package mqtt

import (
	"iter"
	"maps"
	"slices"
	"sync"
)

// Store is what of a session must survive a restart of the process, so that a message at QoS 2 is neither lost nor doubled.
// Changes may be cheap and lazy: only Sync promises that everything before it is durable. A session calls it before it
// writes bytes that depend on a change. Its methods are called from several goroutines.
type Store interface {
	// PutPacket keeps an outgoing packet in flight at QoS 2: a PUBLISH, which its PUBREL later replaces in place. The uuid
	// is that of the Watermill message it carries, and empty for a PUBREL. The store must not keep packet without copying it.
	PutPacket(id uint16, uuid string, packet []byte)
	// DelPacket forgets the outgoing packet: the broker has completed it.
	DelPacket(id uint16)
	// Packets returns the outgoing packets in the order in which each id was first put.
	Packets() iter.Seq2[uint16, []byte]

	// Receive remembers an incoming QoS 2 packet identifier whose message the consumer has stored, and reports whether that is
	// news: it is none where the consumer has stored the identifier with the message, for good.
	Receive(id uint16) (news bool)
	// Received reports whether Receive was called for the id since the last Forget of it.
	Received(id uint16) bool
	// Forget ends the flow of an incoming packet identifier: its PUBREL has come.
	Forget(id uint16)

	// Subscriptions returns the filters, with their QoS, that the broker's session is subscribed to as far as is known.
	Subscriptions() map[string]byte
	SetSubscriptions(map[string]byte)

	// Reset forgets everything: the broker has no session any more.
	Reset()
	// Sync returns when every change before it is durable.
	Sync() error
}

// MemoryStore is a [Store] that lasts as long as the process: QoS 2 is exact over any number of reconnects, but not over
// a restart.
type MemoryStore struct {
	mu            sync.Mutex
	packets       map[uint16]storedPacket
	next          uint64
	received      map[uint16]struct{}
	subscriptions map[string]byte
}

type storedPacket struct {
	id     uint16
	order  uint64
	packet []byte
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	s := &MemoryStore{}
	s.Reset()
	return s
}

// PutPacket implements [Store].
func (s *MemoryStore) PutPacket(id uint16, _ string, packet []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.packets[id]
	if !ok {
		s.next++
		p = storedPacket{id: id, order: s.next}
	}
	p.packet = slices.Clone(packet)
	s.packets[id] = p
}

// DelPacket implements [Store].
func (s *MemoryStore) DelPacket(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.packets, id)
}

// Packets implements [Store].
func (s *MemoryStore) Packets() iter.Seq2[uint16, []byte] {
	s.mu.Lock()
	packets := slices.SortedFunc(maps.Values(s.packets), func(a, b storedPacket) int { return int(a.order) - int(b.order) })
	s.mu.Unlock()
	return func(yield func(uint16, []byte) bool) {
		for _, p := range packets {
			if !yield(p.id, p.packet) {
				return
			}
		}
	}
}

// Receive implements [Store].
func (s *MemoryStore) Receive(id uint16) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.received[id]
	s.received[id] = struct{}{}
	return !known
}

// Received implements [Store].
func (s *MemoryStore) Received(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.received[id]
	return ok
}

// Forget implements [Store].
func (s *MemoryStore) Forget(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.received, id)
}

// Subscriptions implements [Store].
func (s *MemoryStore) Subscriptions() map[string]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.subscriptions)
}

// SetSubscriptions implements [Store].
func (s *MemoryStore) SetSubscriptions(subscriptions map[string]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscriptions = maps.Clone(subscriptions)
}

// Reset implements [Store].
func (s *MemoryStore) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets = make(map[uint16]storedPacket)
	s.received = make(map[uint16]struct{})
	s.subscriptions = make(map[string]byte)
}

// Sync implements [Store].
func (s *MemoryStore) Sync() error { return nil }

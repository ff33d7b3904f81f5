package mqtt

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// brokerStore keeps the built-in broker's sessions and retained messages: a map in memory and, with a directory, a log of
// its changes. Put and delete are cheap; sync is one fsync for all changes before it.
//
// A record of the log is its length and CRC-32C, four bytes each, little-endian, and then changes that hold together:
// the operation ('+' or '-'), the lengths of key and value as unsigned varints, the key and the value.
type brokerStore struct {
	path string
	lock *os.File // nil without a directory
	log  *slog.Logger

	// packets is held for reading while a packet is processed, and for writing while its changes must not be seen
	// in half: when they are taken to the disk, and when a session moves to another connection.
	packets sync.RWMutex

	mu      sync.Mutex
	entries map[string]storeEntry
	next    uint64
	pending []byte // changes that are not in the file
	file    *os.File
	size    int64 // of the file, in bytes
	live    int64 // what a log of the entries alone would take

	syncing   sync.Mutex
	unwritten []byte // records that were taken and are not in the file, under syncing
	compactAt int64  // the size at which the log may be worth compacting, under syncing
	unsettled bool   // the file is in its place, and its folder is not synced, under syncing
	fault     atomic.Pointer[diskFault]
	retries   sync.WaitGroup
	closing   chan struct{}
}

// diskFault is why nothing is written, and since when.
type diskFault struct {
	err   error
	since time.Time
}

type storeEntry struct {
	order uint64 // grows with the first put of a key
	value []byte
}

const (
	recordHeader   = 8
	compactAtLeast = 16 << 20
	retryPause     = time.Second // between two attempts to write to a disk that is full
)

// openBrokerStore reads the log in dir, or makes one. Without dir it keeps everything in memory.
func openBrokerStore(dir string, log *slog.Logger) (*brokerStore, error) {
	s := &brokerStore{log: log, entries: make(map[string]storeEntry), compactAt: compactAtLeast, closing: make(chan struct{})}
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s.path = filepath.Join(dir, "broker.log")
	var err error
	if s.lock, err = lockFile(s.path + ".lock"); err != nil {
		return nil, err
	}
	if err = s.load(); err == nil {
		if err = s.compact(); s.unsettled {
			err = nil
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	return s, nil
}

// apply changes the map, with mu held or before the store is shared.
func (s *brokerStore) apply(key string, value []byte, put bool) {
	old, had := s.entries[key]
	if had {
		s.live -= changeSize(key, old.value)
	}
	if !put {
		delete(s.entries, key)
		return
	}
	if !had {
		s.next++
		old.order = s.next
	}
	s.entries[key] = storeEntry{order: old.order, value: value}
	s.live += changeSize(key, value)
}

func (s *brokerStore) put(key string, value []byte) { s.change(key, value, true) }

func (s *brokerStore) delete(key string) { s.change(key, nil, false) }

func (s *brokerStore) change(key string, value []byte, put bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, had := s.entries[key]; !had && !put {
		return
	}
	s.apply(key, value, put)
	if s.path != "" {
		s.pending = appendChange(s.pending, key, value, put)
	}
}

// order returns the place of the key among all, or 0 where there is none.
func (s *brokerStore) order(key string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[key].order
}

// list returns the values of all keys with the prefix, in order.
func (s *brokerStore) list(prefix string) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []storeEntry
	for key, e := range s.entries {
		if strings.HasPrefix(key, prefix) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b storeEntry) int { return int(a.order) - int(b.order) })
	values := make([][]byte, len(found))
	for i, e := range found {
		values[i] = e.value
	}
	return values
}

// Sync returns when every change before it is on disk. Callers that wait meanwhile share the next fsync. While the disk takes
// nothing it returns why, at once: nothing is forgotten, and the store goes on by itself when there is room.
func (s *brokerStore) Sync() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.path == "" {
		return nil
	}
	if fault := s.fault.Load(); fault != nil {
		return fault.err
	}
	err := s.write()
	if err != nil {
		s.fault.Store(&diskFault{err, time.Now()})
		s.log.Error("built-in broker: the disk takes nothing, until it does nothing is acknowledged at QoS 1 and 2", "error", err)
		s.retries.Go(s.retry)
	}
	return err
}

// retry writes what could not be written until that succeeds or the store is closed.
func (s *brokerStore) retry() {
	ticker := time.NewTicker(retryPause)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.closing:
			return
		}
		if s.recovered() {
			return
		}
	}
}

func (s *brokerStore) recovered() bool {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	if s.write() != nil {
		return false
	}
	fault := s.fault.Swap(nil)
	s.log.Info("built-in broker: the disk takes writes again", "after", time.Since(fault.since).Round(time.Second))
	return true
}

// write takes what is pending to the disk. What fails is kept, and written anew at the same place: after a failed fsync the
// system may have forgotten what it had, and a second one would say nothing of it.
func (s *brokerStore) write() error {
	if s.unsettled {
		if err := syncDir(filepath.Dir(s.path)); err != nil {
			return err
		}
		s.unsettled = false
	}
	if taken := s.take(); len(s.unwritten) == 0 {
		s.unwritten = taken
	} else {
		s.unwritten = append(s.unwritten, taken...)
	}
	if len(s.unwritten) == 0 {
		return nil
	}
	_, err := s.file.WriteAt(s.unwritten, s.size)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		_ = s.file.Truncate(s.size) // a torn end is read over: this only gives the room back
		if named, ok := errors.AsType[*os.PathError](err); ok {
			named.Path = s.path // the file had another name when it was opened
		}
		return err
	}
	s.size += int64(len(s.unwritten))
	s.unwritten = nil
	if s.size > s.compactAt {
		return s.shrink()
	}
	return nil
}

// take returns the record of what is pending.
func (s *brokerStore) take() []byte {
	s.packets.Lock()
	defer s.packets.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.pending
	s.pending = nil
	return seal(out)
}

// close makes a last attempt to write what is pending.
func (s *brokerStore) close() error {
	close(s.closing)
	s.retries.Wait()
	if s.file == nil {
		return nil
	}
	s.syncing.Lock()
	defer s.syncing.Unlock()
	return errors.Join(s.write(), s.file.Close(), s.lock.Close())
}

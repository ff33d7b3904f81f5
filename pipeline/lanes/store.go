package lanes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"time"
)

// Options of a store. The zero value is good.
type Options struct {
	MemoryBytes  int           // of recent QoS 1 and 2 messages, so that a lane that keeps up never reads the disk; 0 means 8 MiB
	QoS0Bytes    int           // of QoS 0 messages, which are nowhere else; 0 means 8 MiB
	SegmentBytes int64         // a file of the journal grows to; 0 means 16 MiB
	FlushPeriod  time.Duration // after which what nobody waits for (acknowledgements) is written; 0 means 250 ms

	now func() time.Time // nil means time.Now
}

func (o *Options) setDefaults() {
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 8 << 20
	}
	if o.QoS0Bytes == 0 {
		o.QoS0Bytes = 8 << 20
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 16 << 20
	}
	if o.FlushPeriod == 0 {
		o.FlushPeriod = 250 * time.Millisecond
	}
	if o.now == nil {
		o.now = time.Now
	}
}

// Store is the journal of a node, its lanes and its MQTT session. Its methods may be called from any goroutine.
type Store struct {
	opts  Options
	log   *slog.Logger
	dir   string // data_dir
	lock  *os.File
	epoch uint64
	boot  uint64

	files sync.RWMutex // held to read segments, and alone to replace one

	namesMu sync.RWMutex // guards byID; taken after mu
	byID    map[uint64]*Lane

	mu          sync.Mutex // guards everything below; never held over I/O
	lanes       []*Lane    // by slot
	seq         uint64     // the last one given out
	segs        []*segment // in order; the last one is written to
	nextSegment uint64
	blocks      []*block // in order, of all segments, with published messages
	cached      []*block // those in memory, oldest first
	cachedBytes int
	ring        ring
	session     session
	dirty       []*Lane // changed since their last record
	urgent      []*Lane // of them, those that the batch being filled must record
	enc         encoder
	pend        *batch        // being filled
	flying      *batch        // being written, if there is one
	torn        *segment      // holds bytes of a batch that failed, and must be cut before anything else is written
	spare       []byte        // of the last batch, for the next one
	reported    time.Time     // when the log last said what was dropped; only the collector's
	complained  time.Time     // when the log last said that the journal cannot be written; only the writer's
	room        chan struct{} // closed when a lane may have room again; nil while nobody waits
	closed      bool

	kick chan struct{} // holds a token when pend should be written
	quit chan struct{} // closed by Close

	collector, writer sync.WaitGroup
	stopWriting       chan struct{} // closed when nobody waits for the writer any more
}

// Open opens the store in dir, which it makes if it is not there, and which belongs to it alone until Close. What is damaged
// is copied to dir/damaged, logged and left out. The error says what is wrong with dir: in use by another process, not
// writable, full, or of a newer version.
func Open(dir string, opts Options, log *slog.Logger) (*Store, error) {
	opts.setDefaults()
	if err := os.MkdirAll(filepath.Join(dir, "journal"), 0o700); err != nil {
		return nil, fmt.Errorf("data_dir %s: %w", dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		opts: opts, log: log, dir: dir, lock: lock,
		byID: map[uint64]*Lane{},
		ring: ring{limit: opts.QoS0Bytes}, session: newSession(),
		kick: make(chan struct{}, 1), quit: make(chan struct{}), stopWriting: make(chan struct{}),
	}
	if err := s.recover(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("data_dir %s: %w", dir, err)
	}
	s.writer.Go(s.writeBatches)
	s.collector.Go(s.collectGarbage)
	return s, nil
}

// Close writes what is not written yet and lets go of the directory. QoS 0 messages that are still queued are dropped.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for _, l := range s.lanes {
		l.dropVolatile(ReasonRestart)
		l.notify()
	}
	s.roomMade()
	s.mu.Unlock()
	close(s.quit)
	s.collector.Wait()
	close(s.stopWriting)
	s.writer.Wait()
	err := s.commit(true)
	if seg := s.segs[len(s.segs)-1]; seg.file != nil {
		err = errors.Join(err, seg.file.Truncate(seg.size), seg.file.Sync(), seg.file.Close())
	}
	return errors.Join(err, s.lock.Close())
}

func (l *Lane) dropVolatile(reason string) {
	n := l.volatile.unread
	l.flights = slices.DeleteFunc(l.flights, func(f flight) bool {
		if f.qos0 {
			n++
		}
		return f.qos0
	})
	l.count(reason, uint64(n))
	l.volatile = queue{}
}

// Epoch returns a number that is set when the store is made, and again, to a greater one, when so much of it was damaged that
// sequence numbers might repeat.
func (s *Store) Epoch() uint64 { return s.epoch }

// Lane returns the lane of that name, with what is queued in it. It makes the lane if there is none.
func (s *Store) Lane(name string, limits Limits) *Lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.byID[laneID(name)]
	if l == nil {
		l = s.newLane(laneID(name))
		l.acked = s.seq
	}
	if !l.claimed {
		l.claimed, l.name = true, name
		s.writeLane(l)
	}
	l.limits = limits
	return l
}

// newLane needs mu, or nobody else to know the store yet.
func (s *Store) newLane(id uint64) *Lane {
	l := &Lane{store: s, id: id, slot: len(s.lanes), wake: make(chan struct{}, 1)}
	s.lanes = append(s.lanes, l)
	s.namesMu.Lock()
	s.byID[id] = l
	s.namesMu.Unlock()
	return l
}

// orphanName stands for a lane whose name was in a damaged place.
func orphanName(l *Lane) string {
	if l.name != "" {
		return l.name
	}
	return fmt.Sprintf("#%016x", l.id)
}

// Orphans returns the names of the lanes that are in the store and that nobody has asked for since Open. Their messages stay
// until [Store.Lane] claims them or [Store.Remove] drops them.
func (s *Store) Orphans() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, l := range s.byID {
		if !l.claimed {
			names = append(names, orphanName(l))
		}
	}
	sort.Strings(names)
	return names
}

// Remove drops a lane and everything in it, and returns its last account. Its reader gets [ErrClosed]. A lane made later under
// the same name starts empty.
func (s *Store) Remove(name string) Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l *Lane
	for _, c := range s.byID {
		if orphanName(c) == name {
			l = c
		}
	}
	if l == nil {
		return Stats{}
	}
	l.count(ReasonRemoved, uint64(l.durable.unread+l.volatile.unread+len(l.flights)))
	l.durable, l.volatile, l.flights, l.removed = queue{}, queue{}, nil, true
	st := l.stats(nil)
	s.namesMu.Lock()
	delete(s.byID, l.id)
	s.namesMu.Unlock()
	s.state(recRemoved, func(b []byte) []byte { return le.AppendUint64(b, l.id) })
	l.notify()
	s.roomMade()
	s.log.Info("lane removed", "lane", name, "dropped", st.Dropped[ReasonRemoved])
	return st
}

// roomMade wakes every Append that waits for room.
func (s *Store) roomMade() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// roomAhead returns a channel that is closed when a lane may have room again.
func (s *Store) roomAhead() <-chan struct{} {
	if s.room == nil {
		s.room = make(chan struct{})
	}
	return s.room
}

// waitForRoom returns when a lane may have room again.
func (s *Store) waitForRoom(ctx context.Context, room <-chan struct{}) error {
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.quit:
		return ErrClosed
	}
}

func (s *Store) journal() string { return filepath.Join(s.dir, "journal") }

func (s *Store) segmentPath(number uint64) string {
	return filepath.Join(s.journal(), fmt.Sprintf("%016x.seg", number))
}

package lanes

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"sort"
	"time"

	"github.com/weft-relay/weft/pipeline/frame"
)

// blockBytes is how much a block grows to: what a lane that lags reads at once, and how far apart the same Set is repeated.
const blockBytes = 256 << 10

// readRetry is how long a reader waits when the disk does not let it read.
const readRetry = 100 * time.Millisecond

// segment is one file of the journal.
type segment struct {
	number  uint64 // boot<<32 | count within the boot; its name
	through uint64 // see header
	path    string
	file    *os.File // open only while it is written to
	size    int64    // bytes that are written and count
	ahead   int64    // bytes that were written, those of the room behind size included
	live    int64    // bytes of messages that some lane still needs, as of the last look
	pairs   int      // pairs of block and lane that were live then; a new look pays when they have halved
}

// item is a message in memory.
type item struct {
	msg frame.Message
	set *fanout
	end int64 // where its record ends in the segment; 0 for QoS 0
}

// fanout is a set of lanes that messages are due in.
type fanout struct {
	id      uint64  // unique in the journal
	given   []*Lane // as asked for
	lanes   []*Lane // each once
	bits    bitset
	emitted bool // its Set record is in the open block
}

// bitset holds lane slots.
type bitset []uint64

func (b bitset) has(slot int) bool {
	return slot>>6 < len(b) && b[slot>>6]>>(slot&63)&1 != 0
}

func (b *bitset) add(slot int) {
	for slot>>6 >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[slot>>6] |= 1 << (slot & 63)
}

func (b *bitset) union(o bitset) {
	for len(*b) < len(o) {
		*b = append(*b, 0)
	}
	for i, w := range o {
		(*b)[i] |= w
	}
}

// block is a stretch of a segment that can be read by itself. Its messages are in memory while it is recent.
type block struct {
	seg         *segment
	off, end    int64  // in the segment
	first, last uint64 // Seq; last is 0 while nothing was published
	lanes       bitset // that have messages here
	pending     int    // messages encoded and not yet published: while there are any, items is the only copy
	items       []item // nil when not in memory
	loaded      bool   // items holds what is published
	mem         int
	told        bool // the log has said that it cannot be read
	dead        bool // deleted or merged into another one
}

// blockAt returns the index of the first block whose last message is seq or later.
func (s *Store) blockAt(seq uint64) int {
	return sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].last >= seq })
}

// remember counts b among the blocks in memory and lets go of the oldest ones beyond the limit.
func (s *Store) remember(b *block, bytes int) {
	if !b.loaded {
		b.loaded = true
		s.cached = append(s.cached, b)
	}
	b.mem += bytes
	s.cachedBytes += bytes
	for i := 0; s.cachedBytes > s.opts.MemoryBytes && i < len(s.cached); {
		if c := s.cached[i]; c == b || c == s.enc.block || c.pending > 0 {
			i++
			continue
		}
		s.forgetItems(s.cached[i])
		s.cached = slices.Delete(s.cached, i, i+1)
	}
}

func (s *Store) forgetItems(b *block) {
	s.cachedBytes -= b.mem
	b.items, b.loaded, b.mem = nil, false, 0
}

// fetch is load for a caller that can wait: where the block cannot be read now, it returns nil when it is time to try again.
func (s *Store) fetch(ctx context.Context, b *block) error {
	if s.load(b) == nil {
		return nil
	}
	select {
	case <-time.After(readRetry):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.quit:
		return ErrClosed
	}
}

// load reads a block back into memory. The caller holds no lock; it looks again afterwards. A block that cannot be read (too
// many open files, a disk that fails) stays as it is, because it may be readable later; a file that is gone never comes back.
func (s *Store) load(b *block) error {
	s.files.RLock()
	items, err := s.readBlock(b)
	s.files.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.dead || b.loaded {
		return nil
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.log.Error("journal segment is gone; the messages there are dropped", "segment", b.seg.path)
	case err != nil:
		if !b.told {
			b.told = true
			s.log.Error("journal cannot be read; its messages wait until it can", "segment", b.seg.path, "error", err)
		}
		return err
	}
	b.told = false
	mem := 0
	for i := range items {
		mem += memoryOf(&items[i].msg)
	}
	b.items = items
	s.remember(b, mem)
	return nil
}

// memoryOf is about what a message takes in memory.
func memoryOf(m *frame.Message) int { return len(m.Topic) + len(m.Payload) + 128 }

// readBlock returns the messages of a block that are undamaged. An error says nothing about them: they could not be read.
func (s *Store) readBlock(b *block) ([]item, error) {
	f, err := os.Open(b.seg.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, b.end-b.off)
	n, err := f.ReadAt(buf, b.off)
	if n < len(buf) && !errors.Is(err, io.EOF) { // at its end, the file was cut off
		return nil, err
	}
	return s.decodeBlock(b, buf[:n]), nil
}

// decodeBlock returns the messages of a block. The payloads alias buf. It needs no lock: a lane's slot never changes.
func (s *Store) decodeBlock(b *block, buf []byte) []item {
	var items []item
	topic := ""
	sets := map[uint64]*fanout{}
	scan(buf, seedOf(b.seg.number), func(_ int, t recordType, body []byte) {
		switch t {
		case recSet:
			if set := s.parseSet(body); set != nil {
				sets[set.id] = set
			}
		case recMessage:
			m, set, _, ok := parseMessage(body, topic)
			if ok && sets[set] != nil && m.Seq >= b.first && m.Seq <= b.last {
				items = append(items, item{msg: m, set: sets[set]})
				topic = m.Topic
			}
		}
	}, func(int, int) {})
	return items
}

// parseSet reads a Set record. Lanes that are gone are not in it.
func (s *Store) parseSet(body []byte) *fanout {
	f := fields{b: body}
	set := &fanout{id: f.u64()}
	s.namesMu.RLock()
	defer s.namesMu.RUnlock()
	for f.more() {
		if l := s.byID[f.u64()]; l != nil {
			set.lanes = append(set.lanes, l)
			set.bits.add(l.slot)
		}
	}
	if f.bad {
		return nil
	}
	return set
}

package lanes

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxDamaged bounds what is kept in data_dir/damaged.
const maxDamaged = 64 << 20

// recovery reads the journal that an earlier process left.
type recovery struct {
	s          *Store
	replay     replay
	maxSeq     uint64
	maxEpoch   uint64
	last       uint64          // number of the last segment
	lost       int64           // damaged bytes
	torn       int64           // of them, those that a process left unfinished when it ended
	headers    int             // whole ones
	seen       map[uint64]bool // lanes that messages are due in
	block      *block
	sets       map[uint64]*fanout
	unroutable int
	started    time.Time
	told       time.Time
}

// recover makes the store what the journal says, and begins a new segment.
func (s *Store) recover() error {
	numbers, err := s.segmentNumbers()
	if err != nil {
		return err
	}
	r := &recovery{s: s, seen: map[uint64]bool{}, started: time.Now(), told: time.Now()}
	r.replay = replay{s: s, removed: map[uint64]bool{}}
	if n := len(numbers); n > 0 {
		r.last = numbers[n-1]
	}
	for i := 0; i < len(numbers); i++ {
		h, err := r.segment(numbers[i])
		if err != nil {
			return err
		}
		for i+1 < len(numbers) && numbers[i+1] <= h.through { // its messages are in the merged one
			i++
			if err := os.Remove(s.segmentPath(numbers[i])); err != nil {
				return err
			}
		}
		r.progress(i+1, len(numbers))
	}
	r.nameless()
	boot := max(s.boot, r.maxSeq>>seqBits)
	if n := len(numbers); n > 0 {
		boot = max(boot, numbers[n-1]>>32)
	}
	s.boot = max(boot+1, bootOf(s.opts.now()))
	s.epoch = r.maxEpoch
	if r.headers == 0 {
		s.epoch = max(r.maxEpoch+1, uint64(s.opts.now().UnixMilli()))
	}
	s.seq = s.boot << seqBits
	if err := r.countMessages(); err != nil {
		return err
	}
	for _, l := range s.lanes {
		l.told = maps.Clone(l.dropped) // by an earlier process
	}
	r.report(len(numbers))
	s.nextSegment = s.boot<<32 | 1
	s.newBatch(0, true, nil)
	// The new boot must be on the disk before one of its sequence numbers is used.
	if err := s.beginBoot(); err != nil {
		s.removeFiles(s.dropDead()) // the disk may be full of what nobody needs
		return s.beginBoot()
	}
	return nil
}

// firstBoot is the time of boot 0.
var firstBoot = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// bootOf returns the boot that the clock asks for, in minutes since 2026, or 0 where they do not fit. A boot that only counted
// would come twice when an older copy of the directory is restored, and receivers would take its messages for duplicates.
func bootOf(now time.Time) uint64 {
	if minutes := (now.Unix() - firstBoot.Unix()) / 60; minutes > 0 && minutes <= maxBoot {
		return uint64(minutes)
	}
	return 0
}

// beginBoot writes the boot's first segment.
func (s *Store) beginBoot() error {
	s.pend.work, s.pend.sync = true, true
	return s.commit(false)
}

// segmentNumbers lists the journal. Files that a crash left half made are removed.
func (s *Store) segmentNumbers() ([]uint64, error) {
	entries, err := os.ReadDir(s.journal())
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".seg")
		if n, err := strconv.ParseUint(name, 16, 64); ok && err == nil && len(name) == 16 && n>>32 <= maxBoot {
			numbers = append(numbers, n)
		} else if strings.HasSuffix(e.Name(), ".tmp") {
			if err := os.Remove(filepath.Join(s.journal(), e.Name())); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// segment reads one file.
func (r *recovery) segment(number uint64) (header, error) {
	path := r.s.segmentPath(number)
	b, err := os.ReadFile(path)
	if err != nil {
		return header{}, err
	}
	h, version, ok := parseHeader(b)
	start := 0
	switch {
	case len(b) == 0 && number == r.last: // the process ended before the first byte
		r.s.log.Info("a segment is empty, as a full disk or a kill leaves it: nothing was in it", "segment", path)
		return header{}, os.Remove(path)
	case len(b) == 0: // somebody has emptied it
		r.s.log.Warn("journal damaged: a segment is empty, what was in it is lost", "segment", path)
	case ok && version != formatVersion:
		return h, fmt.Errorf("journal %s has format %d, this version of weft reads %d", path, version, formatVersion)
	case ok:
		r.headers++
		r.maxEpoch = max(r.maxEpoch, h.epoch)
		r.s.boot = max(r.s.boot, h.boot)
		start = headerLen
	}
	seg := &segment{number: number, through: max(number, h.through), path: path, size: int64(len(b)), live: int64(len(b))}
	r.s.segs = append(r.s.segs, seg)
	r.block, r.sets = nil, map[uint64]*fanout{}
	scan(b[start:], seedOf(number), func(off int, t recordType, body []byte) {
		r.record(seg, int64(start+off), t, body)
	}, func(from, to int) {
		r.damaged(seg, b[start+from:start+to], start+from, start+to == len(b))
	})
	r.replay.endSegment()
	return h, nil
}

// record takes one record of a segment.
func (r *recovery) record(seg *segment, off int64, t recordType, body []byte) {
	switch t {
	case recBlock:
		r.block = &block{seg: seg, off: off}
		clear(r.sets)
	case recSet:
		f := fields{b: body}
		set := &fanout{id: f.u64()}
		for f.more() {
			r.seen[f.u64()] = true
		}
		r.sets[set.id] = set
	case recMessage:
		r.message(seg, off, body)
	default:
		r.replay.apply(t, body)
	}
}

func (r *recovery) message(seg *segment, off int64, body []byte) {
	m, setID, packetID, ok := parseMessage(body, "")
	if !ok {
		r.unroutable++
		return
	}
	r.maxSeq = max(r.maxSeq, m.Seq)
	r.replay.receive(packetID)
	if r.block == nil { // its own record is damaged
		r.block = &block{seg: seg, off: headerLen}
	}
	b := r.block
	if b.last == 0 {
		b.first = m.Seq
		r.s.blocks = append(r.s.blocks, b)
	}
	b.last, b.end = m.Seq, off+recordLen+int64(len(body))
	if r.sets[setID] == nil {
		r.unroutable++
	}
}

// nameless makes the lanes whose own records were all damaged, so that their messages wait for somebody to claim them.
func (r *recovery) nameless() {
	for id := range r.seen {
		if r.lost > 0 && r.s.byID[id] == nil && !r.replay.removed[id] {
			r.s.newLane(id)
		}
	}
}

// damaged sets a run of bytes aside that are no records. Behind the last batch of a segment stands the record of its room, so that a run
// up to the end is what a process was writing when it was killed: the last segment's is no damage, and known when it is found again.
func (r *recovery) damaged(seg *segment, b []byte, off int, toEnd bool) {
	r.replay.damage()
	size := int64(len(b))
	r.lost += size
	name := fmt.Sprintf("%016x-%08x", seg.number, off)
	dir := filepath.Join(r.s.dir, "damaged")
	place := []any{"segment", seg.path, "offset", off, "bytes", len(b)}
	if toEnd {
		content := bytes.TrimRight(b, "\x00") // room that was written ahead
		if before, err := os.ReadFile(filepath.Join(dir, name)); err == nil && bytes.Equal(before, content) {
			r.torn += size
			return
		}
		b = content
	}
	err := setAside(dir, name, b)
	switch {
	case err != nil:
		r.s.log.Warn("journal damaged, and the bytes could not be set aside", append(place, "error", err)...)
	case toEnd && seg.number == r.last:
		r.torn += size
		r.s.log.Info("an unfinished record at the end was dropped, as after a kill", append(place, "copy", filepath.Join(dir, name))...)
	default:
		r.s.log.Warn("journal damaged; the bytes are set aside and the rest is used", append(place, "copy", filepath.Join(dir, name))...)
	}
}

func setAside(dir, name string, b []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	total := int64(len(b))
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
	}
	if total > maxDamaged {
		return errors.New("the directory is full; empty it")
	}
	return os.WriteFile(filepath.Join(dir, name), b, 0o600)
}

// countMessages finds out what is queued in each lane.
func (r *recovery) countMessages() error {
	s := r.s
	for i, b := range s.blocks {
		if !s.needsAny(b) {
			continue
		}
		items, err := s.readBlock(b)
		if err != nil {
			return fmt.Errorf("journal cannot be read: %w", err)
		}
		for k := range items {
			it := &items[k]
			b.lanes.union(it.set.bits)
			for _, l := range it.set.lanes {
				if it.msg.Seq > l.acked && !l.inHole(it.msg.Seq) {
					l.durable.push(it.msg.Seq, int64(Size(&it.msg)))
				}
			}
		}
		r.progress(i+1, len(s.blocks))
	}
	return nil
}

// needsAny reports whether a lane may need a message of the block.
func (s *Store) needsAny(b *block) bool {
	for _, l := range s.lanes {
		if !l.removed && l.acked < b.last {
			return true
		}
	}
	return false
}

func (r *recovery) progress(done, of int) {
	if now := time.Now(); now.Sub(r.told) > 5*time.Second {
		r.told = now
		r.s.log.Info("reading journal", "done", done, "of", of)
	}
}

func (r *recovery) report(segments int) {
	queued := 0
	for _, l := range r.s.lanes {
		queued += l.durable.unread
	}
	if r.lost > r.torn || r.unroutable > 0 {
		r.s.log.Warn("journal was damaged", "bytes", r.lost-r.torn, "messages_without_lanes", r.unroutable)
	}
	r.s.log.Info("journal opened", "segments", segments, "lanes", len(r.s.byID), "queued", queued,
		"boot", r.s.boot, "took", time.Since(r.started).Round(time.Millisecond))
}

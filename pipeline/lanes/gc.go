package lanes

import (
	"math/bits"
	"os"
	"slices"
	"sort"
	"time"
)

// collectGarbage removes what no lane needs any more, and what is too old, as long as the store is open.
func (s *Store) collectGarbage() {
	tick := time.NewTicker(4 * s.opts.FlushPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.dropOld()
			if paths := s.dropDead(); len(paths) > 0 {
				_ = s.flush() // on a full disk it fails, and only removing helps
				s.removeFiles(paths)
			}
			if run := s.sparse(); len(run) > 1 {
				if err := s.merge(run); err != nil {
					s.log.Warn("journal not compacted", "data_dir", s.dir, "error", err)
				}
			}
			if time.Since(s.reported) >= reportPeriod {
				s.reportDrops()
			}
		case <-s.quit:
			s.reportDrops() // the next process takes it for told
			return
		}
	}
}

// dropOld drops what is too old in lanes that nobody reads.
func (s *Store) dropOld() {
	s.mu.Lock()
	lanes := slices.Clone(s.lanes)
	s.mu.Unlock()
	for _, l := range lanes {
		s.mu.Lock()
		idle := l.limits.Age <= 0 || l.removed || l.durable.unread+l.volatile.unread == 0 || time.Since(l.headTime) < l.limits.Age
		s.mu.Unlock()
		if !idle {
			l.Stats() // looks at the head of the lane, which drops it if it is too old
		}
	}
}

// claim is what a lane may still need: everything from a sequence number on but for the holes.
type claim struct {
	low   uint64
	holes []span
}

// claims returns the claim of each lane by its slot. They hold as long as mu does.
func (s *Store) claims() []claim {
	claims := make([]claim, len(s.lanes))
	for i, l := range s.lanes {
		if claims[i].low = l.low(); len(l.owed) == 0 {
			claims[i].holes = l.holes
		}
	}
	for _, b := range []*batch{s.flying, s.pend} {
		if b == nil {
			continue
		}
		for _, sp := range b.spent { // which are in their lanes yet if the batch fails
			c := &claims[sp.lane.slot]
			c.low, c.holes = min(c.low, sp.seq), nil
		}
	}
	return claims
}

// covers reports whether the lane may need something of those messages.
func (c *claim) covers(from, to uint64) bool {
	if from = max(from, c.low); from > to {
		return false
	}
	i := sort.Search(len(c.holes), func(i int) bool { return c.holes[i].to >= to })
	return i == len(c.holes) || c.holes[i].from > from
}

// needs counts the lanes that may still need something of the block.
func (b *block) needs(claims []claim) (n int) {
	for i, w := range b.lanes {
		for ; w != 0; w &= w - 1 {
			if claims[i<<6+bits.TrailingZeros64(w)].covers(b.first, b.last) {
				n++
			}
		}
	}
	return n
}

// pairs counts, for each segment, the pairs of its blocks and the lanes that may need them.
func (s *Store) pairs() map[*segment]int {
	claims := s.claims()
	pairs := make(map[*segment]int, len(s.segs))
	for _, b := range s.blocks {
		pairs[b.seg] += b.needs(claims)
	}
	return pairs
}

// complete reports whether nothing will be written to the segment any more, and a later one on the disk has the state of
// everything: a segment that is begun but not written yet does not count.
func (s *Store) complete(seg *segment) bool {
	for _, newest := range slices.Backward(s.segs) {
		if newest.size > 0 {
			return seg.number < newest.number && seg != s.torn
		}
	}
	return false
}

// flush returns when everything that has left a lane is recorded as such. What goes by that goes afterwards.
func (s *Store) flush() error {
	s.mu.Lock()
	s.writeDirty()
	b := s.pend
	if !b.work {
		s.mu.Unlock()
		return nil
	}
	b.sync = true
	s.mu.Unlock()
	return s.await(b, nil)
}

// dropDead takes out of the journal the segments that no lane needs, and returns their files.
func (s *Store) dropDead() (paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pairs := s.pairs()
	gone := map[*segment]bool{}
	for _, seg := range s.segs {
		if pairs[seg] == 0 && s.complete(seg) {
			gone[seg] = true
			paths = append(paths, seg.path)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	s.segs = slices.DeleteFunc(s.segs, func(seg *segment) bool { return gone[seg] })
	s.blocks = slices.DeleteFunc(s.blocks, func(b *block) bool {
		if gone[b.seg] {
			s.bury(b)
		}
		return gone[b.seg]
	})
	return paths
}

// bury takes a block out of memory for good.
func (s *Store) bury(b *block) {
	b.dead = true
	if b.loaded {
		s.forgetItems(b)
		s.cached = slices.DeleteFunc(s.cached, func(c *block) bool { return c == b })
	}
}

func (s *Store) removeFiles(paths []string) {
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			s.log.Warn("journal segment not removed", "error", err)
		}
	}
}

// reportPeriod is how often at most the log says what was dropped.
const reportPeriod = 10 * time.Second

// reportDrops logs what lanes have dropped since the last report.
func (s *Store) reportDrops() {
	s.reported = time.Now()
	type report struct {
		lane, reason string
		n            uint64
	}
	var reports []report
	s.mu.Lock()
	for _, l := range s.lanes {
		for reason, n := range l.dropped {
			if n > l.told[reason] && !l.removed {
				reports = append(reports, report{orphanName(l), reason, n - l.told[reason]})
				if l.told == nil {
					l.told = map[string]uint64{}
				}
				l.told[reason] = n
			}
		}
	}
	s.mu.Unlock()
	for _, r := range reports {
		s.log.Warn("messages dropped", "lane", r.lane, "reason", r.reason, "messages", r.n)
	}
}

package lanes

import (
	"errors"
	"os"
)

// sparse returns a run of neighbouring segments of which so little is needed that it fits half of one. What is needed of a
// segment is looked up again when half of it may have gone.
func (s *Store) sparse() []*segment {
	s.mu.Lock()
	pairs := s.pairs()
	var look, run []*segment
	for _, seg := range s.segs {
		switch n := pairs[seg]; {
		case n == 0:
			seg.live = 0 // and soon gone
		case s.complete(seg) && (seg.pairs == 0 || n <= seg.pairs/2):
			seg.pairs = n
			look = append(look, seg)
		}
	}
	s.mu.Unlock()
	for _, seg := range look {
		live := s.liveBytes(seg)
		s.mu.Lock()
		seg.live = live
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	total := int64(0)
	for _, seg := range s.segs {
		if !s.complete(seg) {
			break
		}
		if total += seg.live; total > s.opts.SegmentBytes/2 {
			if len(run) > 1 {
				return run
			}
			run, total = nil, seg.live
			if total > s.opts.SegmentBytes/2 {
				total = 0
				continue
			}
		}
		run = append(run, seg)
	}
	return run
}

// blocksOf returns the blocks of a segment.
func (s *Store) blocksOf(seg *segment) (blocks []*block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.blocks {
		if b.seg == seg {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

func (s *Store) liveBytes(seg *segment) (n int64) {
	for _, b := range s.blocksOf(seg) {
		items, _ := s.liveItems(b) // what cannot be read is found out by the lane that needs it
		for i := range items {
			n += int64(recordLen + messageFixed + len(items[i].msg.Topic) + len(items[i].msg.Payload))
		}
	}
	return n
}

// liveItems reads a block and returns the messages that some lane may still need.
func (s *Store) liveItems(b *block) (live []item, err error) {
	items, err := s.readBlock(b)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	claims := s.claims()
	for _, it := range items {
		for _, l := range it.set.lanes {
			if claims[l.slot].covers(it.msg.Seq, it.msg.Seq) {
				live = append(live, it)
				break
			}
		}
	}
	return live, nil
}

// merge replaces a run of segments by one with what is needed of them.
func (s *Store) merge(run []*segment) error {
	first, last := run[0], run[len(run)-1]
	merged := &segment{number: first.number, through: last.through, path: first.path}
	buf := header{epoch: s.epoch, boot: s.boot, through: merged.through}.append(nil)
	var blocks []*block
	for _, seg := range run {
		for _, b := range s.blocksOf(seg) {
			items, err := s.liveItems(b)
			if err != nil {
				return err
			}
			if len(items) > 0 {
				var nb *block
				buf, nb = appendBlock(buf, merged, items)
				blocks = append(blocks, nb)
			}
		}
	}
	merged.size, merged.live = int64(len(buf)), int64(len(buf))
	tmp := first.path + ".tmp"
	if err := writeFile(tmp, buf); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := s.flush(); err != nil { // what is left out is recorded as gone before it is
		return errors.Join(err, os.Remove(tmp))
	}
	if err := s.replace(run, merged, blocks, tmp); err != nil {
		return err
	}
	if err := syncDir(s.journal()); err != nil { // before the messages' old places go
		return err
	}
	paths := make([]string, 0, len(run))
	for _, seg := range run[1:] {
		paths = append(paths, seg.path)
	}
	s.removeFiles(paths)
	s.log.Debug("journal compacted", "segments", len(run), "bytes", merged.size)
	return nil
}

// appendBlock writes messages as one block.
func appendBlock(buf []byte, seg *segment, items []item) ([]byte, *block) {
	seed := seedOf(seg.number)
	b := &block{seg: seg, off: int64(len(buf)), first: items[0].msg.Seq, last: items[len(items)-1].msg.Seq}
	start := len(buf)
	buf = finish(le.AppendUint64(begin(buf, recBlock), b.first), start, seed)
	known := map[uint64]bool{}
	for i := range items {
		it := &items[i]
		if !known[it.set.id] {
			known[it.set.id] = true
			start = len(buf)
			buf = finish(appendSet(begin(buf, recSet), it.set), start, seed)
		}
		start = len(buf)
		buf = finish(appendMessage(begin(buf, recMessage), &it.msg, it.set.id, 0), start, seed)
		b.lanes.union(it.set.bits)
	}
	b.end = int64(len(buf))
	return buf, b
}

func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = syncData(f)
	}
	return errors.Join(err, f.Close())
}

// replace puts the merged segment in the place of the run. No block is read meanwhile: the file's name stays.
func (s *Store) replace(run []*segment, merged *segment, blocks []*block, tmp string) error {
	s.files.Lock()
	defer s.files.Unlock()
	if err := os.Rename(tmp, merged.path); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := map[*segment]bool{}
	for _, seg := range run {
		old[seg] = true
	}
	segs := make([]*segment, 0, len(s.segs))
	for _, seg := range s.segs {
		if seg == run[0] {
			segs = append(segs, merged)
		} else if !old[seg] {
			segs = append(segs, seg)
		}
	}
	all := make([]*block, 0, len(s.blocks))
	for _, b := range s.blocks {
		if !old[b.seg] {
			all = append(all, b)
			continue
		}
		s.bury(b)
		all = append(all, blocks...)
		blocks = nil
	}
	s.segs, s.blocks = segs, all
	return nil
}

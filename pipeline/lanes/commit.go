package lanes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// writeBatches writes what callers have put together while the last write was under way, as long as the store is open.
func (s *Store) writeBatches() {
	flush := time.NewTicker(s.opts.FlushPeriod)
	defer flush.Stop()
	for {
		select {
		case <-s.kick:
			_ = s.commit(false) // whoever waits for the batch gets the error
		case <-flush.C:
			if err := s.commit(true); err != nil {
				s.complain(err)
			}
		case <-s.stopWriting:
			return
		}
	}
}

// complain logs that the journal cannot be written, once a minute at most.
func (s *Store) complain(err error) {
	if now := time.Now(); now.Sub(s.complained) >= time.Minute {
		s.complained = now
		s.log.Error("journal cannot be written; messages are refused until it can", "data_dir", s.dir, "error", err)
	}
}

// commit writes the batch that is being filled, and makes it visible or fails it.
func (s *Store) commit(flush bool) error {
	s.mu.Lock()
	if flush {
		s.writeDirty()
	}
	b := s.pend
	if !b.work {
		s.mu.Unlock()
		return nil
	}
	end := b.base + int64(len(b.buf))
	s.flying = b
	s.newBatch(end, end >= s.opts.SegmentBytes, s.spare)
	s.spare = nil
	s.mu.Unlock()

	err := s.write(b)

	s.mu.Lock()
	s.flying = nil
	if err == nil {
		s.published(b)
	} else {
		b.err = fmt.Errorf("write journal %s: %w", s.journal(), err)
		s.fail(b)
	}
	if cap(b.buf) <= 4<<20 {
		s.spare = b.buf
	}
	s.mu.Unlock()
	close(b.done)
	return b.err
}

// write puts a batch on the disk: for good if somebody waits for it or the MQTT session depends on it.
func (s *Store) write(b *batch) error {
	if err := s.cutTorn(); err != nil {
		return err
	}
	created := b.seg.file == nil
	if created {
		f, err := os.OpenFile(b.seg.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		b.seg.file = f
	}
	out, ahead := s.withRoom(b)
	_, err := b.seg.file.WriteAt(out, b.base)
	if err != nil && ahead > b.seg.ahead { // the disk may be too full for room, and not for the batch
		ahead = b.base + int64(len(b.buf))
		if err = b.seg.file.Truncate(b.base); err == nil {
			_, err = b.seg.file.WriteAt(b.buf, b.base)
		}
	}
	if err != nil {
		return err
	}
	if ahead < b.seg.ahead {
		if err := b.seg.file.Truncate(ahead); err != nil {
			return err
		}
	}
	b.seg.ahead = ahead
	if !b.sync && !b.session && !created {
		return nil
	}
	if err := syncData(b.seg.file); err != nil {
		return err
	}
	if created {
		return syncDir(s.journal())
	}
	return nil
}

// roomBytes is how far ahead of what it holds a segment is written with zeros. To sync bytes inside a file costs two thirds of
// what it costs to make the file longer, for the file system has no journal of its own to write then.
const roomBytes = 128 << 10

// withRoom returns what is written for a batch: its bytes, the record of the room behind them, and new room where that is used
// up; and how long the segment then is. Behind the last batch of a segment there is no room.
func (s *Store) withRoom(b *batch) (out []byte, ahead int64) {
	end := b.base + int64(len(b.buf))
	if end >= s.opts.SegmentBytes {
		return b.buf, end
	}
	room := end + roomLen
	if ahead = b.seg.ahead; ahead < room {
		ahead = min(room+roomBytes, s.opts.SegmentBytes+roomLen)
	}
	out = appendRoom(b.buf, ahead-room, seedOf(b.seg.number))
	if ahead > b.seg.ahead {
		out = append(out, make([]byte, ahead-room)...)
	}
	return out, ahead
}

// cutTorn takes off the end of a segment what a failed batch left there: after a crash it would count as written, although
// Append has said that it is not.
func (s *Store) cutTorn() error {
	seg := s.torn
	if seg == nil {
		return nil
	}
	if seg.file != nil {
		var err error
		if seg.size == 0 {
			err = os.Remove(seg.path)
		} else {
			err = errors.Join(seg.file.Truncate(seg.size), syncData(seg.file))
		}
		if err != nil {
			return err
		}
		seg.file.Close()
		seg.file = nil
	}
	s.mu.Lock()
	s.torn = nil // which the collector reads
	s.mu.Unlock()
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// published makes a batch that is on the disk visible, and what came after it and needs no disk.
func (s *Store) published(b *batch) {
	b.seg.size = b.base + int64(len(b.buf))
	for i := range b.items {
		s.publish(&b.items[i])
	}
	for _, id := range b.ids {
		s.session.received[id] = struct{}{}
	}
	for _, id := range b.marks {
		s.session.setDone(id.Origin, id.key(), id.Seq)
	}
	if b.seg != s.pend.seg {
		b.seg.file.Close() // it is complete, and whatever was promised of it is on the disk
		b.seg.file = nil
		b.seg.live = b.seg.size
	}
	s.publishVolatile()
}

// publishVolatile makes the messages of pend visible if none of them waits for the disk.
func (s *Store) publishVolatile() {
	for i := range s.pend.items {
		if s.pend.items[i].tied {
			return
		}
	}
	for i := range s.pend.items {
		s.publish(&s.pend.items[i])
	}
	s.pend.items = nil
}

// publish makes one message visible to its lanes.
func (s *Store) publish(it *pending) {
	if it.block == nil {
		s.publishQoS0(it)
		return
	}
	b, seq, size := it.block, it.msg.Seq, int64(Size(&it.msg))
	if b.last == 0 {
		b.first = seq
		s.blocks = append(s.blocks, b)
	}
	b.last, b.end = seq, it.end
	b.lanes.union(it.set.bits)
	b.pending--
	b.items = append(b.items, it.item)
	s.remember(b, memoryOf(&it.msg))
	for _, l := range it.set.given {
		l.reserved -= size
	}
	for _, l := range it.set.lanes {
		if l.removed {
			continue
		}
		if l.durable.unread == 0 {
			l.cur, l.idx = b, len(b.items)-1
			if l.durable.flying == 0 {
				l.acked = seq - 1
			}
		}
		if l.durable.unread+l.volatile.unread == 0 {
			l.notify()
		}
		l.durable.push(seq, size)
	}
}

func (s *Store) publishQoS0(it *pending) {
	if memoryOf(&it.msg) > s.ring.limit {
		for _, l := range it.set.lanes {
			l.count(ReasonTooLarge, 1)
		}
		return
	}
	for _, l := range it.set.lanes {
		if l.removed {
			continue
		}
		if l.durable.unread+l.volatile.unread == 0 {
			l.notify()
		}
		l.volatile.push(it.msg.Seq, int64(Size(&it.msg)))
	}
	s.ring.push(it.item)
}

// fail undoes a batch that could not be written, and the one after it, which was made to follow it. The next one begins a
// new segment with all that is known.
func (s *Store) fail(b *batch) {
	next := s.pend
	if next.seg != b.seg {
		s.segs = s.segs[:len(s.segs)-1] // never written
	}
	s.undo(b)
	s.undo(next)
	s.torn, b.seg.live = b.seg, b.seg.size
	if b.seg.size == 0 {
		s.segs = s.segs[:len(s.segs)-1]
	}
	s.newBatch(0, true, nil)
	s.pend.session = b.session || next.session
	s.pend.work = s.pend.work || s.pend.session
	next.err = b.err
	close(next.done)
}

func (s *Store) undo(b *batch) {
	for i := range b.items {
		it := &b.items[i]
		switch {
		case it.block == nil && !it.tied:
			s.publish(it)
		case it.block != nil:
			it.block.pending--
			for _, l := range it.set.given {
				l.reserved -= int64(Size(&it.msg))
			}
		}
	}
	for _, r := range b.refused {
		r.lane.dropped[r.reason]--
		r.lane.markDirty()
	}
	for _, sp := range b.spent {
		sp.lane.owe(sp.flight)
	}
	s.roomMade()
}

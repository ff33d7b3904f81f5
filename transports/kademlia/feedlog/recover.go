package feedlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// keepDamaged is how many *.damaged files stay.
const keepDamaged = 4

// recover makes the log what the folder says.
func (l *Log) recover() error {
	l.next = l.mark.next
	if l.mark.reset {
		l.halfReset = true
		return l.finishReset()
	}
	firsts, err := l.files()
	if err != nil {
		return err
	}
	for i, first := range firsts {
		found, err := scanSegment(l.path(first), first)
		if err != nil {
			return err
		}
		l.segments = append(l.segments, found.whole)
		l.size += found.whole.size
		if i == len(firsts)-1 {
			return l.recoverLast(found)
		}
		if !found.intact() || found.whole.next != firsts[i+1] {
			if err := l.beginBehind(len(l.segments)-1, found, firsts[i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// recoverLast ends the log with what is right of the last segment.
func (l *Log) recoverLast(found scan) error {
	seg := found.whole
	l.next = max(l.mark.next, seg.next)
	if seg.next < l.mark.next {
		return l.endBefore(found)
	}
	if found.intact() && seg.next > seg.first {
		return nil
	}
	l.log.Info("an unfinished record at the end of a feed log was dropped, as after a kill", "segment", l.path(seg.first),
		"offset", seg.size, "bytes", max(found.length-seg.size, 0))
	if seg.next > seg.first {
		return l.truncate(seg)
	}
	l.segments, l.size = l.segments[:len(l.segments)-1], l.size-seg.size
	return errors.Join(l.remove(seg.first), syncDir(l.dir))
}

// inspect is called for a segment that has given out something wrong, and takes the damage out of the log. It reports whether it found none;
// a segment that was trimmed meanwhile is no longer the log's and is not looked at.
func (l *Log) inspect(seg *segment) (intact bool, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.settle(); err != nil {
		return false, err
	}
	i := slices.Index(l.segments, seg)
	if i < 0 {
		return false, nil
	}
	found, err := scanSegment(l.path(seg.first), seg.first)
	switch {
	case err != nil:
		return false, err
	case found.intact() && found.whole.next == seg.next:
		return true, nil
	case i < len(l.segments)-1:
		return false, l.beginBehind(i, found, l.segments[i+1].first)
	}
	return false, l.endBefore(found)
}

// beginBehind gives up a damaged segment that is not the last, and those before it: what is newer stays.
func (l *Log) beginBehind(i int, found scan, next uint64) error {
	l.mu.Lock()
	seg, before := l.segments[i], l.segments[:i:i]
	l.uncount(before)
	l.size -= seg.size
	l.damage.Records += next - seg.first
	l.segments = l.segments[i+1:]
	l.change()
	l.mu.Unlock()
	l.forget(seg)
	l.drop(before, "segments before the damage are removed")
	if found.intact() { // but records are missing, or too many
		l.drop([]*segment{seg}, "a segment does not lead up to the next one")
		return nil
	}
	return l.setAside(found)
}

// endBefore ends the log before the damage in its last segment. Next stays: the numbers between are lost.
func (l *Log) endBefore(found scan) error {
	seg := found.valid
	last := len(l.segments) - 1
	l.mu.Lock()
	old := l.segments[last]
	l.damage.Records += l.next - seg.next
	l.size += seg.size - old.size
	l.segments[last] = seg
	if seg.next == seg.first {
		l.segments = l.segments[:last]
		l.size -= seg.size
	}
	l.change()
	l.mu.Unlock()
	l.forget(old)
	l.log.Warn("feed log damaged: records at its end are lost", "segment", l.path(seg.first), "from", seg.next, "to", l.next-1)
	switch {
	case seg.next == seg.first:
		return l.setAside(found)
	case found.length == seg.size:
		return nil
	}
	if err := l.copyAside(seg, found.length); err != nil { // the disk may be full
		l.log.Warn("feed log damaged, and the bytes could not be set aside", "segment", l.path(seg.first), "offset", seg.size, "error", err)
	}
	return l.truncate(seg)
}

func (l *Log) damagedPath(first uint64, off int64) string {
	return filepath.Join(l.dir, fmt.Sprintf("%016x-%08x.damaged", first, off))
}

// setAside takes the whole file of a segment out of the log.
func (l *Log) setAside(found scan) error {
	first := found.valid.first
	if found.length == 0 {
		return errors.Join(l.remove(first), syncDir(l.dir))
	}
	off := min(found.valid.size, found.length)
	aside := l.damagedPath(first, off)
	if err := os.Rename(l.path(first), aside); err != nil {
		return err
	}
	return l.asideKept(aside, off, found.length)
}

// copyAside keeps a copy of what is behind the records of a segment.
func (l *Log) copyAside(seg *segment, length int64) error {
	h, err := l.acquire(seg)
	if err != nil {
		return err
	}
	defer l.release(h)
	aside := l.damagedPath(seg.first, seg.size)
	f, err := os.Create(aside)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.NewSectionReader(h.file, seg.size, length-seg.size))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(aside))
	}
	return l.asideKept(aside, seg.size, length)
}

// asideKept counts what was set aside, and removes the oldest such files when there are too many.
func (l *Log) asideKept(aside string, off, length int64) error {
	l.mu.Lock()
	l.damage.Bytes += length - off
	l.mu.Unlock()
	l.log.Warn("feed log damaged; the bytes are set aside and the rest is used", "copy", aside, "offset", off, "bytes", length-off)
	kept, err := filepath.Glob(filepath.Join(l.dir, "*.damaged"))
	if err != nil {
		return err
	}
	slices.Sort(kept)
	for ; len(kept) > keepDamaged; kept = kept[1:] {
		err = errors.Join(err, os.Remove(kept[0]))
	}
	return errors.Join(err, syncDir(l.dir))
}

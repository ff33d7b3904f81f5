package feedlog

import (
	"errors"
	"fmt"
	"time"
)

// Reset drops all records for good and gives the next one the number, which is 1 or more. After an error nobody knows whether a restart
// finds the log reset; until then it is, if Next says so.
func (l *Log) Reset(next uint64) error {
	if next == 0 || next > maxNumber {
		return fmt.Errorf("reset feed log %s: no record can have the number %d", l.dir, next)
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.reset(next); err != nil {
		return fmt.Errorf("reset feed log %s: %w", l.dir, err)
	}
	return nil
}

func (l *Log) reset(next uint64) error {
	if err := l.settle(); err != nil {
		return err
	}
	// From here on, a restart finishes the work.
	if err := l.mark.set(next, true, true); err != nil {
		return err
	}
	l.halfReset = true
	l.mu.Lock()
	l.segments, l.size, l.next = nil, 0, next
	clear(l.hints[:])
	idle := l.swap(nil)
	l.change()
	l.mu.Unlock()
	idle.close()
	return l.finishReset()
}

// finishReset removes all segments. Both slots of the mark say so afterwards: it alone knows the number.
func (l *Log) finishReset() error {
	firsts, err := l.files()
	if err != nil {
		return err
	}
	for _, first := range firsts {
		if err := l.remove(first); err != nil {
			return err
		}
	}
	if err := syncDir(l.dir); err != nil {
		return err
	}
	if err := errors.Join(l.mark.set(l.next, false, false), l.mark.set(l.next, false, true)); err != nil {
		return err
	}
	l.halfReset = false
	return nil
}

// trim removes the oldest segments while there are too many bytes, or none but old records in them.
func (l *Log) trim(now time.Time) {
	l.mu.Lock()
	n, size := 0, l.size
	for n < len(l.segments)-1 {
		seg := l.segments[n]
		large := l.limits.Bytes > 0 && size > l.limits.Bytes
		old := l.limits.Age > 0 && now.UnixMilli()-seg.to > l.limits.Age.Milliseconds()
		if !large && !old {
			break
		}
		size -= seg.size
		n++
	}
	trimmed := l.segments[:n:n]
	l.segments = l.segments[n:]
	l.size = size
	l.mu.Unlock()
	l.drop(trimmed, "")
}

// uncount takes segments that are no longer the log's out of its account. The caller holds mu.
func (l *Log) uncount(lost []*segment) {
	for _, seg := range lost {
		l.size -= seg.size
		l.damage.Records += seg.next - seg.first
	}
}

// drop removes the files of segments that are no longer the log's, the oldest first, so that what is left is one run at any moment. What
// it cannot remove, the next Open does.
func (l *Log) drop(segs []*segment, why string) {
	if len(segs) == 0 {
		return
	}
	if why != "" {
		l.log.Warn("feed log damaged: "+why, "dir", l.dir, "from", segs[0].first, "to", segs[len(segs)-1].next-1)
	}
	var err error
	for _, seg := range segs {
		l.forget(seg)
		if err == nil {
			err = l.remove(seg.first)
		}
	}
	err = errors.Join(err, syncDir(l.dir))
	if err != nil && !l.complain {
		l.log.Warn("old segments of a feed log cannot be removed", "dir", l.dir, "error", err)
	}
	l.complain = err != nil
}

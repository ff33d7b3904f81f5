package feedlog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// maxSegment is how large a segment may be before a new one is begun, in bytes.
const maxSegment = 8 << 20

// Append stores the records durably, all or none, with one sync, and returns the number of the first; the others follow it. After an error,
// a full disk for one, the log is as it was, and the next Append tries anew. Of an Append that a crash interrupts, all or nothing is
// there afterwards.
func (l *Log) Append(records ...[]byte) (first uint64, err error) {
	for _, record := range records {
		if len(record) == 0 || len(record) > MaxRecord {
			return 0, fmt.Errorf("append %d bytes to feed log %s: %w", len(record), l.dir, ErrRecordSize)
		}
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if first, err = l.append(records); err != nil {
		return 0, fmt.Errorf("append to feed log %s: %w", l.dir, err)
	}
	return first, nil
}

func (l *Log) append(records [][]byte) (uint64, error) {
	if err := l.settle(); err != nil {
		return 0, err
	}
	first := l.next
	if len(records) == 0 {
		return first, nil
	}
	now := time.Now()
	l.trim(now) // first, for it may make room
	seg := l.target(now)
	ms := now.UnixMilli()
	if err := l.write(seg, ms, records); err != nil {
		l.uncut = seg
		_ = l.cut() // or the next Append does
		return 0, err
	}
	l.publish(seg, ms, records)
	_ = l.mark.set(l.next, false, false) // the records are durable without it; one that is stale is written before the next Append
	l.trim(now)
	return first, nil
}

// settle finishes what a failed call left, and what must be done before anything else is written.
func (l *Log) settle() error {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if err := l.cut(); err != nil {
		return err
	}
	if l.halfReset {
		return l.finishReset()
	}
	if l.mark.stale {
		return l.mark.set(l.next, false, true)
	}
	return nil
}

// target returns the segment to write to: the last one, or a new one if that is full, or begun so long ago that it would keep old records.
func (l *Log) target(now time.Time) *segment {
	n := len(l.segments)
	if n == 0 {
		return newSegment(l.next)
	}
	last := l.segments[n-1]
	full := int64(maxSegment)
	if l.limits.Bytes > 0 {
		full = min(full, l.limits.Bytes/8)
	}
	old := l.limits.Age > 0 && now.UnixMilli()-last.from > (l.limits.Age/8).Milliseconds()
	if last.next != l.next || last.size >= full || old {
		return newSegment(l.next)
	}
	return last
}

// write puts the records behind the end of a segment and syncs them.
func (l *Log) write(seg *segment, ms int64, records [][]byte) error {
	created := seg.next == seg.first
	var h *handle
	var err error
	if created {
		h, err = l.create(seg)
	} else {
		h, err = l.acquire(seg)
	}
	if err != nil {
		return err
	}
	defer l.release(h)
	off := seg.size
	if created {
		off = 0
	}
	if err := writeRecords(io.NewOffsetWriter(h.file, off), created, seg, ms, records); err != nil {
		return err
	}
	if err := syncData(h.file); err != nil {
		return err
	}
	if created {
		return syncDir(l.dir)
	}
	return nil
}

func (l *Log) create(seg *segment) (*handle, error) {
	f, err := os.OpenFile(l.path(seg.first), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return l.keep(seg, f)
}

var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 16<<10) }}

func writeRecords(to io.Writer, created bool, seg *segment, ms int64, records [][]byte) error {
	w := writers.Get().(*bufio.Writer)
	defer writers.Put(w)
	w.Reset(to)
	defer w.Reset(nil)
	if created {
		_, _ = w.Write(appendSegmentHeader(w.AvailableBuffer()))
	}
	var b [recordHeader]byte
	for i, record := range records {
		more := i < len(records)-1
		_, _ = w.Write(appendHeader(b[:0], seg.seed, seg.next+uint64(i), ms, more, record))
		_, _ = w.Write(record)
	}
	return w.Flush() // which returns the first error of all
}

// publish makes records that are durable visible.
func (l *Log) publish(seg *segment, ms int64, records [][]byte) {
	l.mu.Lock()
	var before []*segment
	if seg.next == seg.first {
		if l.end() != seg.first { // damage broke the run here
			before, l.segments = l.segments, nil
			l.uncount(before)
		}
		l.segments = append(l.segments, seg)
		l.size += seg.size
	}
	size := seg.size
	for _, record := range records {
		seg.add(recordHeader+int64(len(record)), ms)
	}
	l.size += seg.size - size
	l.next = seg.next
	l.change()
	l.mu.Unlock()
	l.drop(before, "segments before the damage are removed, for the log goes on behind it")
}

// cut takes off what a failed Append left behind the end of a segment: after a restart it would count as written.
func (l *Log) cut() error {
	seg := l.uncut
	if seg == nil {
		return nil
	}
	var err error
	if seg.next == seg.first {
		l.forget(seg)
		err = errors.Join(l.remove(seg.first), syncDir(l.dir))
	} else {
		err = l.truncate(seg)
	}
	if err != nil {
		return fmt.Errorf("cut back the last segment: %w", err)
	}
	l.uncut = nil
	return nil
}

// truncate makes the file of a segment as long as the records in it.
func (l *Log) truncate(seg *segment) error {
	h, err := l.acquire(seg)
	if err != nil {
		return err
	}
	defer l.release(h)
	if err := h.file.Truncate(seg.size); err != nil {
		return err
	}
	return syncData(h.file)
}

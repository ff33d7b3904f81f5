package feedlog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
)

// errDamaged is for what no longer is the record that was appended.
var errDamaged = errors.New("damaged on the disk")

// hint is where a record begins that somebody will probably ask for: the one behind the last that was read.
type hint struct {
	seg *segment
	place
}

// Read returns a record. It is the caller's own. Errors are ErrGone, ErrNotYet, ErrClosed, and those of the disk.
func (l *Log) Read(number uint64) ([]byte, error) {
	for tries := 0; tries < 3; {
		record, seg, err := l.read(number)
		switch {
		case err == nil:
			return record, nil
		case errors.Is(err, errDamaged):
			var intact bool
			if intact, err = l.inspect(seg); intact {
				tries++
			}
		}
		switch {
		case errors.Is(err, ErrGone), errors.Is(err, ErrNotYet), errors.Is(err, ErrClosed):
			return nil, err // as it is: it is often asked for
		case err != nil:
			return nil, fmt.Errorf("read record %d of feed log %s: %w", number, l.dir, err)
		}
	}
	return nil, fmt.Errorf("read record %d of feed log %s: %w", number, l.dir, errDamaged)
}

func (l *Log) read(number uint64) ([]byte, *segment, error) {
	seg, from, end, err := l.locate(number)
	if err != nil {
		return nil, nil, err
	}
	h, err := l.acquire(seg)
	if errors.Is(err, os.ErrNotExist) {
		return nil, seg, errDamaged // or trimmed just now, which inspect finds out
	}
	if err != nil {
		return nil, seg, err
	}
	defer l.release(h)
	record, next, err := readRecord(h.file, seg.seed, from, number, end)
	if err == nil {
		l.expect(hint{seg, place{number + 1, next}}, number)
	}
	return record, seg, err
}

// locate returns the segment of a record, a place that is not behind it, and where the segment ends.
func (l *Log) locate(number uint64) (seg *segment, from place, end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, place{}, 0, ErrClosed
	case number < l.first():
		return nil, place{}, 0, ErrGone
	case number >= l.end():
		return nil, place{}, 0, ErrNotYet
	}
	i, found := slices.BinarySearchFunc(l.segments, number, func(s *segment, n uint64) int {
		switch {
		case s.first < n:
			return -1
		case s.first > n:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	seg = l.segments[i]
	for _, h := range l.hints {
		if h.seg == seg && h.number == number {
			return seg, h.place, seg.size, nil
		}
	}
	return seg, seg.near(number), seg.size, nil
}

// expect keeps a hint in the place of the one that led to a record, or of the oldest.
func (l *Log) expect(next hint, number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, h := range l.hints {
		if h.seg == next.seg && (h.number == number || h.number == next.number) {
			l.hints[i] = next
			return
		}
	}
	l.hints[l.oldest] = next
	l.oldest = (l.oldest + 1) % len(l.hints)
}

var chunks = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// readRecord finds a record by going from header to header, and returns it and where it ends.
func readRecord(f io.ReaderAt, seed uint32, at place, number uint64, end int64) ([]byte, int64, error) {
	chunk := chunks.Get().(*[4 << 10]byte)
	defer chunks.Put(chunk)
	for {
		n, err := f.ReadAt(chunk[:min(int64(len(chunk)), max(end-at.off, 0))], at.off)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		}
		if n < recordHeader {
			return nil, 0, errDamaged
		}
		for b := chunk[:n]; len(b) >= recordHeader; {
			h := parseHeader(b)
			if !h.valid(at.number, end-at.off) {
				return nil, 0, errDamaged
			}
			if at.number == number {
				record, err := readBody(f, seed, h, b, at.off)
				return record, at.off + h.size(), err
			}
			at.number++
			at.off += h.size()
			b = b[min(h.size(), int64(len(b))):]
		}
	}
}

// readBody returns the bytes of a record, of which b has the beginning.
func readBody(f io.ReaderAt, seed uint32, h header, b []byte, off int64) ([]byte, error) {
	crc := crc32.Update(seed, castagnoli, b[4:recordHeader])
	record := make([]byte, h.length)
	n := copy(record, b[recordHeader:])
	if n < len(record) {
		if _, err := f.ReadAt(record[n:], off+recordHeader+int64(n)); errors.Is(err, io.EOF) {
			return nil, errDamaged
		} else if err != nil {
			return nil, err
		}
	}
	if crc32.Update(crc, castagnoli, record) != h.crc {
		return nil, errDamaged
	}
	return record, nil
}

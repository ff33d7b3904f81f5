package feedlog

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
)

// indexStride is how far apart the places are that a segment's index knows: 16 bytes in memory for that much on the disk.
const indexStride = 64 << 10

// place is where a record begins.
type place struct {
	number uint64
	off    int64
}

// segment is a file of records. The Log's mu guards what changes.
type segment struct {
	first    uint64
	seed     uint32
	next     uint64 // number behind its last record
	size     int64
	from, to int64 // times of its first record and of its newest, Unix ms
	index    []place
}

func newSegment(first uint64) *segment {
	return &segment{first: first, seed: seedOf(first), next: first, size: segmentHeader}
}

// add takes in a record at the end.
func (s *segment) add(size, ms int64) {
	if n := len(s.index); n == 0 || s.size-s.index[n-1].off >= indexStride {
		s.index = append(s.index, place{s.next, s.size})
	}
	if s.next == s.first {
		s.from, s.to = ms, ms
	}
	s.to = max(s.to, ms)
	s.next++
	s.size += size
}

// near returns the last place in the index that is not behind the number.
func (s *segment) near(number uint64) place {
	i, found := slices.BinarySearchFunc(s.index, number, func(p place, n uint64) int {
		switch {
		case p.number < n:
			return -1
		case p.number > n:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return s.index[i]
}

// scan is what is in a segment's file.
type scan struct {
	valid  *segment // the records up to the first that is none
	whole  *segment // of them, those of Appends that are there to the last record
	length int64    // of the file
}

// intact reports whether there is nothing but records.
func (s scan) intact() bool { return s.length == s.whole.size }

// scanSegment reads the file of a segment. A file that is not there has no records.
func scanSegment(path string, first uint64) (scan, error) {
	result := scan{valid: newSegment(first), whole: newSegment(first)}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return result, nil
	}
	if err != nil {
		return result, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return result, err
	}
	result.length = info.Size()
	r := readers.Get().(*bufio.Reader)
	defer readers.Put(r)
	r.Reset(f)
	defer r.Reset(nil)
	err = result.read(r)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return result, err
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 64<<10) }}

// read takes in records up to the first that is none, which is no error.
func (s *scan) read(r *bufio.Reader) error {
	b, err := r.Peek(segmentHeader)
	if err != nil {
		return err
	}
	version, ok := parseSegmentHeader(b)
	if !ok {
		return nil
	}
	if version != formatVersion {
		return fmt.Errorf("segment %016x has format %d, this version of weft reads %d", s.valid.first, version, formatVersion)
	}
	for r.Discard(segmentHeader); ; {
		b, err := r.Peek(recordHeader)
		if err != nil {
			return err
		}
		h := parseHeader(b)
		if !h.valid(s.valid.next, s.length-s.valid.size) {
			return nil
		}
		crc := crc32.Update(s.valid.seed, castagnoli, b[4:])
		if _, err = r.Discard(recordHeader); err != nil {
			return err
		}
		if crc, err = sum(r, int(h.length), crc); err != nil {
			return err
		}
		if crc != h.crc {
			return nil
		}
		s.valid.add(h.size(), h.time)
		if !h.more {
			*s.whole = *s.valid
		}
	}
}

// sum reads n bytes and goes on with their checksum.
func sum(r *bufio.Reader, n int, crc uint32) (uint32, error) {
	for n > 0 {
		b, err := r.Peek(min(n, r.Size()))
		if err != nil {
			return 0, err
		}
		crc = crc32.Update(crc, castagnoli, b)
		if _, err = r.Discard(len(b)); err != nil {
			return 0, err
		}
		n -= len(b)
	}
	return crc, nil
}

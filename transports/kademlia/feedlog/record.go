package feedlog

import (
	"encoding/binary"
	"hash/crc32"
)

// A segment is a file named %016x.seg after its first number: a header and then records. All numbers are little-endian.
//
//	header  "weftfeed" | u32 version = 1 | u32 crc32c of the 12 bytes before
//	record  u32 crc32c | u32 length, top bit: more of the same Append follow | u64 number | i64 Unix ms | bytes
//
// A record's checksum covers all behind it, and starts from the checksum of the segment's first number: bytes that another file left on
// the disk, or a record inside a record, are no record here.
const (
	formatVersion = 1
	magic         = "weftfeed"
	segmentHeader = 16
	recordHeader  = 24
	moreFollow    = 1 << 31
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func appendSegmentHeader(b []byte) []byte {
	start := len(b)
	b = le.AppendUint32(append(b, magic...), formatVersion)
	return le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parseSegmentHeader returns the version, and whether b is a header at all.
func parseSegmentHeader(b []byte) (version uint32, ok bool) {
	if len(b) < segmentHeader || string(b[:8]) != magic || crc32.Checksum(b[:12], castagnoli) != le.Uint32(b[12:]) {
		return 0, false
	}
	return le.Uint32(b[8:]), true
}

func seedOf(first uint64) uint32 {
	return crc32.Checksum(le.AppendUint64(nil, first), castagnoli)
}

// header is what stands before the bytes of a record.
type header struct {
	crc, length uint32
	more        bool // the Append that wrote this record goes on behind it
	number      uint64
	time        int64 // Unix ms
}

// size is that of the whole record.
func (h header) size() int64 { return recordHeader + int64(h.length) }

func parseHeader(b []byte) header {
	length := le.Uint32(b[4:])
	return header{crc: le.Uint32(b), length: length &^ moreFollow, more: length&moreFollow != 0, number: le.Uint64(b[8:]), time: int64(le.Uint64(b[16:]))}
}

// valid reports whether the header can be that of the record with the number, in a place with room for so many bytes.
func (h header) valid(number uint64, room int64) bool {
	return h.number == number && h.length > 0 && h.length <= MaxRecord && h.size() <= room
}

// appendHeader appends the header of a record.
func appendHeader(b []byte, seed uint32, number uint64, ms int64, more bool, record []byte) []byte {
	start := len(b)
	length := uint32(len(record))
	if more {
		length |= moreFollow
	}
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, length)
	b = le.AppendUint64(b, number)
	b = le.AppendUint64(b, uint64(ms))
	crc := crc32.Update(seed, castagnoli, b[start+4:])
	le.PutUint32(b[start:], crc32.Update(crc, castagnoli, record))
	return b
}

package lanes

import (
	"hash/crc32"
	"strconv"
	"time"
)

// At sets the clock that a store is opened by.
func (o Options) At(now time.Time) Options {
	o.now = func() time.Time { return now }
	return o
}

// SetVersion makes a segment one of another format version.
func SetVersion(segment []byte, version uint32) {
	le.PutUint32(segment[8:], version)
	le.PutUint32(segment[40:], crc32.Checksum(segment[:40], castagnoli))
}

// Mend gives the header and every record that is framed in a segment the right checksum.
func Mend(segment []byte, name string) {
	number, err := strconv.ParseUint(name[:16], 16, 64)
	if err != nil || len(segment) < headerLen {
		return
	}
	copy(segment, magic[:])
	le.PutUint32(segment[40:], crc32.Checksum(segment[:40], castagnoli))
	for b := segment[headerLen:]; len(b) >= recordLen; {
		n := min(recordLen+int(le.Uint32(b[3:])%4096), len(b))
		b[0], b[1] = marker0, marker1
		finish(b[:n], 0, seedOf(number))
		b = b[n:]
	}
}

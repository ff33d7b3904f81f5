package feedlog

import "hash/crc32"

// SetVersion makes a segment one of another format.
func SetVersion(file []byte, version uint32) {
	le.PutUint32(file[8:], version)
	le.PutUint32(file[12:], crc32.Checksum(file[:12], castagnoli))
}

// Mend makes the checksums of a segment fit whatever is in it, so that a fuzz target gets behind them.
func Mend(file []byte, first uint64) {
	if len(file) < segmentHeader {
		return
	}
	copy(file, appendSegmentHeader(nil))
	for b := file[segmentHeader:]; len(b) >= recordHeader; {
		size := parseHeader(b).size()
		if size > int64(len(b)) {
			return
		}
		le.PutUint32(b, crc32.Update(seedOf(first), castagnoli, b[4:size]))
		b = b[size:]
	}
}

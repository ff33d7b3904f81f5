package lanes

import "hash/crc32"

// SetVersion makes a segment one of another format version.
func SetVersion(segment []byte, version uint32) {
	le.PutUint32(segment[8:], version)
	le.PutUint32(segment[40:], crc32.Checksum(segment[:40], castagnoli))
}

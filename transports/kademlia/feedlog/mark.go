package feedlog

import (
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// mark is a second witness of how far a log has got. Whatever is lost of the segments, no number is given twice; and what is wrong at the
// end of the last one is damage if the mark has seen records there, and otherwise an Append that a kill left unfinished.
//
// It is written after each Append, and seldom synced: a crash of the process leaves it as it was, one of the machine may leave an
// earlier one. The file, which is also the log's lock, has two slots of 32 bytes that are written in turn, so that one is always whole.
//
//	slot  u64 turn | u64 next | u64 1: a Reset is under way | u32 crc32c of the 24 bytes before | u32 0
type mark struct {
	file  *os.File
	turn  uint64
	next  uint64
	reset bool
	dirty bool // written since it was synced
	stale bool // a write failed: nobody knows what the file says
}

const (
	slotLen    = 32
	slotStride = 512 // a sector for each
)

// openMark locks the mark's file and reads it.
func openMark(path string) (*mark, error) {
	f, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	m := &mark{file: f, next: 1}
	if err := m.load(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

func (m *mark) load(dir string) error {
	b := make([]byte, 2*slotStride)
	n, err := m.file.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for i := range 2 {
		s := b[i*slotStride:]
		if turn := le.Uint64(s); turn > m.turn && le.Uint64(s[8:]) <= maxNumber && crc32.Checksum(s[:24], castagnoli) == le.Uint32(s[24:]) {
			m.turn, m.next, m.reset = turn, max(le.Uint64(s[8:]), 1), le.Uint64(s[16:]) != 0
		}
	}
	if n == len(b) {
		return nil
	}
	// It is as long as it will be from the start: on a full disk it can be written again.
	if _, err := m.file.WriteAt(b[n:], int64(n)); err != nil {
		return err
	}
	return errors.Join(m.file.Sync(), syncDir(dir))
}

// set writes the mark, and makes it durable if asked to.
func (m *mark) set(next uint64, reset, sync bool) error {
	var s [slotLen]byte
	m.turn++
	le.PutUint64(s[0:], m.turn)
	le.PutUint64(s[8:], next)
	if reset {
		le.PutUint64(s[16:], 1)
	}
	le.PutUint32(s[24:], crc32.Checksum(s[:24], castagnoli))
	_, err := m.file.WriteAt(s[:], int64(m.turn%2)*slotStride)
	if err == nil && sync {
		err = syncData(m.file)
	}
	m.next, m.reset, m.dirty, m.stale = next, reset, err != nil || !sync, err != nil
	return err
}

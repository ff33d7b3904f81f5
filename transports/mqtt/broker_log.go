package mqtt

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// load reads the records up to the first that is damaged, as the last one is after a crash in the middle of a write. Then the
// whole file is kept aside as well: a damaged length looks like a torn end too. It stays in its place until a new one replaces it.
func (s *brokerStore) load() error {
	file, err := os.Open(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 1<<20)
	for offset := int64(0); ; {
		record, err := readRecord(r)
		if err == nil {
			err = s.replay(record)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			offset += recordHeader + int64(len(record))
			continue
		}
		aside := s.path + ".damaged"
		left := int64(-1)
		if info, statErr := file.Stat(); statErr == nil {
			left = info.Size() - offset
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			s.log.Warn("built-in broker: the end of the log is left out: a write that a crash has cut short, or damage; the file as it was is kept",
				"file", aside, "offset", offset, "bytes", left)
		} else {
			s.log.Error("built-in broker: the log is damaged, what follows is left out; the file as it was is kept",
				"file", aside, "offset", offset, "bytes", left, "error", err)
		}
		if err := errors.Join(ignoreMissing(os.Remove(aside)), os.Link(s.path, aside)); err != nil {
			s.log.Warn("built-in broker: the damaged file could not be kept", "error", err)
		}
		return nil
	}
}

func readRecord(r io.Reader) ([]byte, error) {
	var header [recordHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(header[:]))
	var body bytes.Buffer // grows with what is there, whatever the length says
	if n, err := io.CopyN(&body, r, length); n < length {
		return nil, unexpected(err)
	}
	if crc32.Checksum(body.Bytes(), castagnoli) != binary.LittleEndian.Uint32(header[4:]) {
		return nil, errors.New("checksum mismatch")
	}
	return body.Bytes(), nil
}

// replay applies the changes of a record.
func (s *brokerStore) replay(b []byte) error {
	for len(b) > 0 {
		put := b[0] == '+'
		keyLen, n := binary.Uvarint(b[1:])
		b = b[1+max(n, 0):]
		valueLen, m := binary.Uvarint(b)
		b = b[max(m, 0):]
		if n <= 0 || m <= 0 || keyLen > uint64(len(b)) || valueLen > uint64(len(b))-keyLen {
			return errors.New("change longer than its record")
		}
		s.apply(string(b[:keyLen]), b[keyLen:keyLen+valueLen], put)
		b = b[keyLen+valueLen:]
	}
	return nil
}

// appendChange appends a change to a record. The first makes room for the record's header.
func appendChange(b []byte, key string, value []byte, put bool) []byte {
	if len(b) == 0 {
		b = append(b, make([]byte, recordHeader)...)
	}
	op := byte('-')
	if put {
		op = '+'
	}
	b = append(b, op)
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(append(b, key...), value...)
}

// seal fills in the header of a record.
func seal(record []byte) []byte {
	if len(record) > 0 {
		body := record[recordHeader:]
		binary.LittleEndian.PutUint32(record, uint32(len(body)))
		binary.LittleEndian.PutUint32(record[4:], crc32.Checksum(body, castagnoli))
	}
	return record
}

func changeSize(key string, value []byte) int64 {
	return int64(8 + len(key) + len(value))
}

// shrink compacts a log that is for the most part of the past. Where that fails the log stays as it was, and grows until the
// next attempt.
func (s *brokerStore) shrink() error {
	s.packets.Lock()
	defer s.packets.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size < 4*s.live {
		return nil
	}
	err := s.compact()
	if err == nil || s.unsettled {
		s.compactAt = compactAtLeast
		return err
	}
	s.compactAt = s.size + compactAtLeast
	s.log.Warn("built-in broker: the log could not be compacted, it grows", "bytes", s.size, "error", err)
	return nil
}

// compact writes a new log of the entries alone and puts it in the place of the old one.
func (s *brokerStore) compact() error {
	keys := make([]string, 0, len(s.entries))
	for key := range s.entries {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int { return int(s.entries[a].order) - int(s.entries[b].order) })
	var all []byte
	for _, key := range keys {
		all = append(all, seal(appendChange(nil, key, s.entries[key].value, true))...)
	}
	file, err := replaceFile(s.path, all)
	if file == nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	if s.file != nil {
		s.file.Close()
	}
	s.file, s.size, s.live, s.pending = file, int64(len(all)), int64(len(all)), nil
	s.unsettled = err != nil
	return err
}

// replaceFile puts data durably at path, and returns the file open for more. With an error it returns the file too, if
// that is in its place but might not be there after a crash.
func replaceFile(path string, data []byte) (*os.File, error) {
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		file.Close()
		return nil, errors.Join(err, os.Remove(file.Name()))
	}
	return file, syncDir(filepath.Dir(path))
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

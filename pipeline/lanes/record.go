package lanes

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/weft-relay/weft/pipeline/frame"
)

// A segment is a header and then records: marker, type, body length, checksum, body. All numbers are little-endian.
const (
	formatVersion = 1
	headerLen     = 44
	recordLen     = 11
	seqBits       = 40                  // of a sequence number count within one boot; the rest is the boot
	maxBoot       = 1<<(64-seqBits) - 2 // so that the next one still fits
	marker0       = 0xE5
	marker1       = 0x57
)

var magic = [8]byte{'w', 'e', 'f', 't', 'l', 'a', 'n', 'e'}

type recordType byte

const (
	recBlock         recordType = 1 + iota // a block begins: what follows needs no earlier Set
	recSet                                 // set id, lane ids
	recMessage                             // one message and the set of lanes that it is due in
	recLane                                // the whole state of one lane
	recRemoved                             // lane id
	recPacket                              // outgoing MQTT packet in flight, and the identity of its message
	recDelPacket                           // packet id
	recReceive                             // incoming packet id
	recForget                              // incoming packet id
	recSubscriptions                       // every subscription of the MQTT session
	recReset                               // the MQTT session is gone
	recDone                                // up to where a lane of another node is done
	recHanded                              // messages of a lane of another node that are handed over beyond that
	recCheckpoint                          // what follows, up to recCheckpointEnd, is everything but the messages
	recCheckpointEnd
	recRoom // how many zero bytes behind it were written ahead; the next write takes its place
	recLast = recRoom
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// header opens a segment.
type header struct {
	epoch, boot uint64
	through     uint64 // number of the last segment whose messages this one holds: after a merge, more than its own
}

func (h header) append(b []byte) []byte {
	start := len(b)
	b = append(b, magic[:]...)
	b = le.AppendUint32(b, formatVersion)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, h.epoch)
	b = le.AppendUint64(b, h.boot)
	b = le.AppendUint64(b, h.through)
	return le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parseHeader reads a header. The version is valid only if ok.
func parseHeader(b []byte) (h header, version uint32, ok bool) {
	if len(b) < headerLen || [8]byte(b[:8]) != magic || crc32.Checksum(b[:40], castagnoli) != le.Uint32(b[40:]) {
		return h, 0, false
	}
	h = header{epoch: le.Uint64(b[16:]), boot: le.Uint64(b[24:]), through: le.Uint64(b[32:])}
	return h, le.Uint32(b[8:]), h.boot <= maxBoot
}

// seedOf ties the checksums of records to their segment: bytes left on the disk by another one, or a record that somebody
// put into a payload, never count as a record here.
func seedOf(segment uint64) uint32 {
	return crc32.Checksum(le.AppendUint64(nil, segment), castagnoli)
}

func checksum(seed uint32, record []byte) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, record[2:7]), castagnoli, record[recordLen:])
}

// begin opens a record at the end of b; finish closes the one that began at start.
func begin(b []byte, t recordType) []byte {
	return append(b, marker0, marker1, byte(t), 0, 0, 0, 0, 0, 0, 0, 0)
}

func finish(b []byte, start int, seed uint32) []byte {
	le.PutUint32(b[start+3:], uint32(len(b)-start-recordLen))
	le.PutUint32(b[start+7:], checksum(seed, b[start:]))
	return b
}

// parseRecord reads the record at the start of b, if it is whole and undamaged.
func parseRecord(b []byte, seed uint32) (t recordType, body []byte, ok bool) {
	if len(b) < recordLen || b[0] != marker0 || b[1] != marker1 || b[2] == 0 || recordType(b[2]) > recLast {
		return 0, nil, false
	}
	n := uint64(le.Uint32(b[3:])) + recordLen
	if n > uint64(len(b)) || checksum(seed, b[:n]) != le.Uint32(b[7:]) {
		return 0, nil, false
	}
	return recordType(b[2]), b[recordLen:n:n], true
}

// scan calls record for each undamaged record of b, and damaged for each run of bytes between that is none.
// Both offsets are relative to b.
func scan(b []byte, seed uint32, record func(off int, t recordType, body []byte), damaged func(from, to int)) {
	bad := -1
	for off := 0; off < len(b); {
		t, body, ok := parseRecord(b[off:], seed)
		if !ok {
			if bad < 0 {
				bad = off
			}
			off++
			continue
		}
		if bad >= 0 {
			damaged(bad, off)
			bad = -1
		}
		record(off, t, body)
		off += recordLen + len(body)
		if t == recRoom && len(body) == 4 {
			off += zeros(b[off:], int(le.Uint32(body)))
		}
	}
	if bad >= 0 {
		damaged(bad, len(b))
	}
}

// zeros returns how many of the first bytes of b, up to a limit, are zero.
func zeros(b []byte, limit int) (n int) {
	for n < min(len(b), limit) && b[n] == 0 {
		n++
	}
	return n
}

// roomLen is the length of a recRoom.
const roomLen = recordLen + 4

func appendRoom(b []byte, n int64, seed uint32) []byte {
	start := len(b)
	return finish(le.AppendUint32(begin(b, recRoom), uint32(n)), start, seed)
}

const (
	messageFixed = 8 + 8 + 8 + 1 + 2 + 2
	retainFlag   = 0x80
)

func appendMessage(b []byte, m *frame.Message, set uint64, packetID uint16) []byte {
	flags := m.QoS
	if m.Retain {
		flags |= retainFlag
	}
	b = le.AppendUint64(b, m.Seq)
	b = le.AppendUint64(b, set)
	b = le.AppendUint64(b, uint64(m.Time.UnixMilli()))
	b = append(b, flags)
	b = le.AppendUint16(b, packetID)
	b = le.AppendUint16(b, uint16(len(m.Topic)))
	b = append(b, m.Topic...)
	return append(b, m.Payload...)
}

// parseMessage reads the body of a recMessage. Payload aliases it; topic is the previous message's where it is the same.
func parseMessage(b []byte, topic string) (m frame.Message, set uint64, packetID uint16, ok bool) {
	if len(b) < messageFixed {
		return m, 0, 0, false
	}
	n := int(le.Uint16(b[27:]))
	if len(b) < messageFixed+n {
		return m, 0, 0, false
	}
	m.Seq, m.QoS = le.Uint64(b), b[24]&^retainFlag
	if m.Seq>>seqBits > maxBoot || m.QoS != 1 && m.QoS != 2 {
		return m, 0, 0, false
	}
	m.Time = time.UnixMilli(int64(le.Uint64(b[16:])))
	m.Retain = b[24]&retainFlag != 0
	if t := b[messageFixed : messageFixed+n]; string(t) == topic {
		m.Topic = topic
	} else {
		m.Topic = string(t)
	}
	m.Payload = b[messageFixed+n:]
	return m, le.Uint64(b[8:]), le.Uint16(b[25:]), true
}

func appendString(b []byte, s string) []byte {
	return append(le.AppendUint16(b, uint16(len(s))), s...)
}

// fields reads a body piece by piece; after a piece that is not there, everything is zero and bad is set.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if f.bad || n > len(f.b) {
		f.bad = true
		return make([]byte, min(n, 8))
	}
	p := f.b[:n]
	f.b = f.b[n:]
	return p
}

func (f *fields) u64() uint64 { return le.Uint64(f.take(8)) }
func (f *fields) u16() uint16 { return le.Uint16(f.take(2)) }
func (f *fields) u8() byte    { return f.take(1)[0] }

func (f *fields) string() string {
	n := int(f.u16())
	if s := f.take(n); !f.bad {
		return string(s)
	}
	return ""
}

// more reports whether a list goes on.
func (f *fields) more() bool { return !f.bad && len(f.b) > 0 }

package twister

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// reader takes a header apart. What is missing or out of bounds makes it bad, and all that follows zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) fail() int {
	r.bad, r.rest = true, nil
	return 0
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.fail()
		return nil
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) epoch() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// number reads a uvarint in its shortest form.
func (r *reader) number(most int) int {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > uint64(min(most, math.MaxInt32)) || size > 1 && r.rest[size-1] == 0 {
		return r.fail()
	}
	r.rest = r.rest[size:]
	return int(n)
}

func (r *reader) receipt(flags byte) *receipt {
	got := &receipt{epoch: r.epoch(), number: r.number(maxNumber)}
	if flags&hasView == 0 {
		return got
	}
	got.view = &view{seen: r.number(maxNumber)}
	number := got.number
	for range r.number(maxAhead) {
		f := partial{number: number + r.number(maxAhead)}
		if size := r.number((maxPieces + 7) / 8); size > 0 {
			f.have = r.bytes(size)
		}
		if f.number == number {
			r.fail()
		}
		number = f.number
		got.view.frames = append(got.view.frames, f)
	}
	return got
}

func (r *reader) piece(flags byte) *piece {
	p := &piece{epoch: r.epoch(), number: r.number(maxNumber), back: r.number(2 * maxAhead), count: 1}
	p.unreceipted, p.asks = flags&unreceipted != 0, flags&asks != 0
	if flags&isWhole == 0 {
		p.index, p.count = r.number(maxPieces-1), 1+r.number(maxPieces-1)
		if p.count == 1 {
			r.fail()
		}
	}
	if flags&hasUUID != 0 {
		p.uuid = string(r.bytes(r.number(maxUUID)))
		if p.uuid == "" || !utf8.ValidString(p.uuid) || p.index != p.count-1 {
			r.fail()
		}
	}
	p.data = r.rest
	r.rest = nil
	last := p.index == p.count-1
	if p.number < 1 || p.back >= p.number || p.index >= p.count || len(p.data) > pieceSize || p.uuid != "" && len(p.data)+2+len(p.uuid) > pieceSize || !last && len(p.data) != pieceSize ||
		last && p.count > 1 && len(p.data) == 0 || p.index*pieceSize+len(p.data) > MaxPayload {
		r.fail()
	}
	return p
}

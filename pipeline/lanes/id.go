package lanes

import (
	"crypto/sha256"
	"strconv"
	"strings"
)

// ID is the identity of a message in one destination: no two messages ever share one.
type ID struct {
	Origin string // node whose store the message was queued in
	Lane   uint64 // see [Lane.Over]
	Epoch  uint64 // see [Store.Epoch]
	Seq    uint64 // see [frame.Message]
}

func (id ID) key() markKey { return markKey{id.Lane, id.Epoch} }

// String returns "origin/lane/epoch/seq", the numbers in hexadecimal.
func (id ID) String() string {
	b := make([]byte, 0, len(id.Origin)+3*17)
	b = append(append(b, id.Origin...), '/')
	b = append(strconv.AppendUint(b, id.Lane, 16), '/')
	b = append(strconv.AppendUint(b, id.Epoch, 16), '/')
	return string(strconv.AppendUint(b, id.Seq, 16))
}

// ParseID reads what [ID.String] wrote, and reports whether it was that.
func ParseID(s string) (ID, bool) {
	rest, seq, ok3 := cutLast(s)
	rest, epoch, ok2 := cutLast(rest)
	origin, lane, ok1 := cutLast(rest)
	return ID{Origin: origin, Lane: lane, Epoch: epoch, Seq: seq}, ok1 && ok2 && ok3
}

// cutLast takes the hexadecimal number after the last slash off s.
func cutLast(s string) (rest string, n uint64, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(s[i+1:], 16, 64)
	return s[:i], n, err == nil
}

// laneID is the same for a name in every store and every version: it is on the wire.
func laneID(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return le.Uint64(sum[:])
}

package mqtt

import (
	"encoding/binary"
	"strconv"
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// identifiers gives the exchanges that a client begins other packet identifiers than the client has chosen. Both sides number by
// themselves (MQTT 2.3.1), and mochi keeps one table for both: it would refuse a SUBSCRIBE that has the identifier of a waiting
// message, and forget the message for a PUBLISH.
type identifiers struct {
	mu      sync.Mutex
	inside  map[uint16]uint16 // mochi's, by the client's
	outside map[uint16]uint16 // the client's, by mochi's
	sent    uint16            // the last that mochi has given to a message to the client
	last    uint16            // of inside that was given
}

func newIdentifiers() *identifiers {
	return &identifiers{inside: make(map[uint16]uint16), outside: make(map[uint16]uint16)}
}

// far is how long what mochi sends does not come to an identifier that is given here.
const far = 1 << 14

// enter returns mochi's identifier for the client's exchange, or false where all are taken.
func (t *identifiers) enter(id uint16, taken func(uint16) bool) (uint16, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if in, ok := t.inside[id]; ok {
		return in, true
	}
	near := t.last
	if ahead := t.last - t.sent; ahead < far || ahead > 3*far {
		near = t.sent + 2*far
	}
	// Where it is crowded there, on from the last that was free: nearly all may wait for the client, and then to look at each of
	// them for every packet would take too long.
	in, ok := t.free(near, 64, taken)
	if !ok {
		in, ok = t.free(t.last, 1<<16, taken)
	}
	if ok {
		t.inside[id], t.outside[in], t.last = in, id, in
	}
	return in, ok
}

// free returns the first identifier behind from that nothing has, of so many.
func (t *identifiers) free(from uint16, many int, taken func(uint16) bool) (uint16, bool) {
	for range many {
		from++
		if _, given := t.outside[from]; from != 0 && !given && !taken(from) {
			return from, true
		}
	}
	return 0, false
}

// resume takes up exchanges that the session has open: of what it has received at QoS 2.
func (t *identifiers) resume(inflight *mochi.Inflight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, pk := range inflight.GetAll(false) {
		if pk.FixedHeader.Type == packets.Pubrec {
			id := clientsID(pk)
			t.inside[id], t.outside[pk.PacketID] = pk.PacketID, id
		}
	}
}

// clientsID returns the client's identifier of a PUBREC in a session's table. It stands in a field that is empty otherwise; in one
// that was stored before there was a difference, it is mochi's own.
func clientsID(pk packets.Packet) uint16 {
	id, err := strconv.ParseUint(pk.Origin, 10, 16)
	if err != nil {
		return pk.PacketID
	}
	return uint16(id)
}

// mark writes the client's identifier into a PUBREC for the session's table.
func (t *identifiers) mark(pk *packets.Packet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.outside[pk.PacketID]; ok {
		pk.Origin = strconv.Itoa(int(id))
	}
}

// leave returns an answer of mochi's as the client is to get it.
func (t *identifiers) leave(kind byte, packet []byte) []byte {
	_, n := binary.Uvarint(packet[1:])
	at := 1 + max(n, 0)
	if len(packet) < at+2 {
		return packet
	}
	reason := byte(0)
	if kind != packets.Suback && kind != packets.Unsuback && len(packet) > at+2 {
		reason = packet[at+2]
	}
	again := kind == packets.Pubrec && reason == packets.ErrPacketIdentifierInUse.Code // a PUBLISH that came again: it is received
	in := binary.BigEndian.Uint16(packet[at:])
	t.mu.Lock()
	defer t.mu.Unlock()
	id, ok := t.outside[in]
	if !ok {
		id = in
	} else if kind != packets.Pubrec || reason >= packets.ErrUnspecifiedError.Code && !again { // the exchange is over
		delete(t.inside, id)
		delete(t.outside, in)
	}
	if again {
		return appendAck(nil, pubrecHeader, id)
	}
	answer := append([]byte(nil), packet...)
	binary.BigEndian.PutUint16(answer[at:], id)
	return answer
}

// sends notes the identifier of a message to the client.
func (t *identifiers) sends(id uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent = id
}

package mqtt

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// maxInflightBytes bounds the memory of the packets in flight; a single larger packet still passes, alone.
const maxInflightBytes = 16 << 20

// maxAnswers is how many answers of the broker are waited for at most before the first is read.
const maxAnswers = 128

var errNoID = errors.New("no free packet identifier")

// flight is an outgoing message at QoS 1 or 2 that the broker has not completed.
type flight struct {
	id         uint16
	qos        byte
	sent       bool   // its PUBLISH was written to some link
	onWire     bool   // what is due for it was written to the present link
	released   bool   // PUBREC has come: PUBREL is what has to be sent
	uuid       string // of the Watermill message
	packet     []byte // the PUBLISH; nil when only its PUBREL survived a restart
	call       *call  // who waits for it, or nil
	orphan     bool   // it was given up, and nobody waited for it
	prev, next *flight
}

// outgoing is the sending half of a session: the messages in flight, in the order they were published.
type outgoing struct {
	store  Store
	limit  int // messages in flight
	limit2 int // PUBLISH packets at QoS 2 that wait for their PUBREC; a QoS 1 PUBLISH needs one place too, at its moment

	mu     sync.Mutex
	change *sync.Cond // a slot is free, a link has come, or the session is closed
	link   *link      // nil while not connected
	hasty  bool       // nothing waits for a link any more
	closed bool
	ended  chan struct{} // closed with closed
	// flights holds a nil for an identifier that a SUBSCRIBE or UNSUBSCRIBE uses: the identifiers are shared [MQTT-2.3.1-4].
	flights     map[uint16]*flight
	first, last *flight
	unsent      *flight // the first that is not on the wire, with all after it
	owed        int     // on the wire, each waiting for one answer
	open2       int     // on the wire and waiting for their PUBREC
	count       int
	bytes       int
	lastID      uint16
	suspicion   suspicion
	hated       atomic.Pointer[kind] // what the broker hangs up on, as far as it is known; stored with mu held

	theirs atomic.Uint32 // the last identifier that the broker gave
	lost   atomic.Uint64 // QoS 0 messages that no link took
	total  atomic.Uint64 // payload bytes handed to links

	refused atomic.Uint64 // messages that were given up
	orphans atomic.Uint64 // of these, those that no call waited for
}

func newOutgoing(store Store, limit, limit2 int) *outgoing {
	o := &outgoing{store: store, limit: limit, limit2: limit2, ended: make(chan struct{}), flights: make(map[uint16]*flight)}
	o.change = sync.NewCond(&o.mu)
	return o
}

// load takes up the packets in flight at the end of the last run.
func (o *outgoing) load() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, packet := range o.store.Packets() {
		f := &flight{id: id, qos: 2, sent: true}
		if packet[0]>>4 == packets.Pubrel {
			f.released = true
		} else {
			f.packet = append([]byte(nil), packet...)
		}
		o.push(f)
		o.lastID = id
	}
}

// publish puts the message in flight, after waiting for a slot, and adds it to the call.
func (o *outgoing) publish(ctx context.Context, p Publication, uuid string, c *call) error {
	packet, err := encodePublish(p, 0)
	if err != nil {
		return err
	}
	f := &flight{qos: p.QoS, uuid: uuid, packet: packet, call: c}
	o.mu.Lock()
	defer o.mu.Unlock()
	full := func() bool { return o.count >= o.limit || o.count > 0 && o.bytes+len(packet) > maxInflightBytes }
	if err := o.wait(ctx, full); err != nil {
		return err
	}
	if f.id = o.nextID(); f.id == 0 {
		return errNoID
	}
	binary.BigEndian.PutUint16(packet[len(packet)-len(p.Payload)-2:], f.id)
	c.pending++
	o.push(f)
	if f.qos == 2 {
		o.store.PutPacket(f.id, uuid, packet)
	}
	o.pump()
	o.total.Add(uint64(len(p.Payload)))
	return nil
}

// publishLoose writes a QoS 0 message to the connection, waiting for one as long as ctx lasts.
func (o *outgoing) publishLoose(ctx context.Context, p Publication) error {
	packet, err := encodePublish(p, 0)
	if err != nil {
		return err
	}
	o.mu.Lock()
	err = o.wait(ctx, func() bool { return o.link == nil })
	l := o.link
	o.mu.Unlock()
	if err != nil {
		return err
	}
	if !l.writeLoose(packet) {
		o.lost.Add(1) // at most once: it is counted, not sent again
		return nil
	}
	o.total.Add(uint64(len(p.Payload)))
	return nil
}

// wait blocks, with mu held, while blocked returns true.
func (o *outgoing) wait(ctx context.Context, blocked func() bool) error {
	if !o.closed && !blocked() {
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.change.Broadcast()
	})
	defer stop()
	for !o.closed && blocked() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		o.change.Wait()
	}
	if o.closed {
		return ErrClosed
	}
	return nil
}

// connected makes l the connection of the session and sends again what is in flight, in order [MQTT-4.4.0-1]. Where the
// broker has no session, everything is published anew: a message whose PUBREL was due may already have been passed on, but
// dropping it could lose it.
func (o *outgoing) connected(l *link, sessionPresent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !sessionPresent {
		o.store.Reset()
	}
	for f := o.first; f != nil; {
		next := f.next
		f.onWire = false
		if !sessionPresent {
			o.renew(f)
		}
		f = next
	}
	o.link, o.unsent, o.owed, o.open2 = l, o.first, 0, 0
	o.pump()
	o.change.Broadcast()
}

// renew makes f as if it had never been sent.
func (o *outgoing) renew(f *flight) {
	if f.packet == nil { // only its PUBREL survived a restart, and the session that it belongs to is gone
		o.remove(f)
		return
	}
	f.sent, f.released = false, false
	f.packet[0] &^= dupFlag
	if f.qos == 2 {
		o.store.PutPacket(f.id, f.uuid, f.packet)
	}
}

// disconnected ends the use of l. It returns the messages that are given up because the broker hangs up on them.
func (o *outgoing) disconnected(l *link) []*flight {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.link == l {
		o.link = nil
	}
	if o.hasty {
		o.end()
	}
	return o.suspect(l.reason())
}

// pump writes what is due, in order, as far as the limit of open QoS 2 exchanges lets it.
func (o *outgoing) pump() {
	if o.link == nil {
		return
	}
	for ; o.unsent != nil && !o.alone(); o.unsent = o.unsent.next {
		f := o.unsent
		if f.released {
			o.link.write(appendAck(nil, pubrelHeader, f.id), true)
			f.onWire = true
			o.owed++
			continue
		}
		// At QoS 1 too: Mosquitto counts both, and acknowledges a QoS 1 message that is one too many as if it had taken it.
		if o.open2 >= o.limit2 {
			return
		}
		if f.qos == 2 {
			o.open2++
		}
		if f.sent {
			f.packet[0] |= dupFlag // [MQTT-3.3.1-1]
		}
		f.onWire = true
		o.owed++
		f.sent = o.link.write(f.packet, f.qos == 2) || f.sent
	}
}

// answers returns about how many bytes of answers the broker owes.
func (o *outgoing) answers() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return min(o.owed, maxAnswers) * ackLen
}

// answered handles a PUBACK, PUBREC or PUBCOMP. An answer to nothing in flight is left alone, but for a PUBREC: without a
// PUBREL the broker would hold its message for ever.
func (o *outgoing) answered(l *link, kind byte, id uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.flights[id]
	switch {
	case kind == packets.Pubrec:
		if f != nil && f.qos == 2 && !f.released {
			f.released = true
			o.cleared(f)
			o.store.PutPacket(id, "", appendAck(nil, pubrelHeader, id))
			if f.onWire {
				o.open2--
			}
		}
		l.write(appendAck(nil, pubrelHeader, id), true) // [MQTT-4.3.3-1]
		o.pump()
	case f == nil:
	case kind == packets.Puback && f.qos == 1:
		o.complete(f)
		o.pump()
	case kind == packets.Pubcomp && f.released:
		o.store.DelPacket(id)
		o.complete(f)
	}
}

func (o *outgoing) complete(f *flight) {
	o.cleared(f)
	o.remove(f)
	if f.call != nil {
		f.call.finish()
	}
}

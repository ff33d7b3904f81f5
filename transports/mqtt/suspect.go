package mqtt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// A broker may hang up on a message that is legal MQTT: Mosquitto does on a topic of more than 200 levels, or with a control
// character, and MQTT 3.1.1 gives it no way to say so. Sent again after each reconnect, as MQTT asks, the message would keep
// everything behind it waiting for ever. So the oldest message without an answer is suspected when the broker hangs up.
const (
	// suspectAlone is after how many hang-ups on the same suspect nothing is sent behind it, to be sure that it is the one.
	suspectAlone = 2
	// suspectRefused is after how many it is given up as refused.
	suspectRefused = 6
)

// What the broker has hung up on for one of these reasons it will hang up on again: further messages of the kind are refused without a
// try, for each would hold everything up for several connections. Only small packets tell: a large one may have been too large.
const (
	deepTopic     = 100       // levels from which on their number may be the reason
	tellingBytes  = 16 << 10  // of the largest packet that tells
	kindForgotten = time.Hour // another broker may be there by then
)

// kind is a kind of topics that the broker hangs up on. The zero value holds none.
type kind struct {
	levels  int  // those of this many levels and more, unless it is 0
	control bool // those with a control character [MQTT-1.5.3-2]
	until   time.Time
}

func (k *kind) holds(topic string) bool {
	if k == nil || time.Now().After(k.until) {
		return false
	}
	return k.levels > 0 && levels(topic) >= k.levels || k.control && hasControl(topic)
}

// with returns the kind that holds also what is like the message, as far as there is one reason to see.
func (k *kind) with(f *flight) *kind {
	topic := f.topic()
	deep, control := levels(topic) > deepTopic, hasControl(topic)
	if len(f.packet) > tellingBytes || deep == control {
		return k
	}
	more := kind{until: time.Now().Add(kindForgotten)}
	if k != nil {
		more.levels, more.control = k.levels, k.control
	}
	if control {
		more.control = true
	} else {
		more.levels = levels(topic)
	}
	return &more
}

func levels(topic string) int { return 1 + strings.Count(topic, "/") }

func hasControl(topic string) bool { return strings.ContainsFunc(topic, unicode.IsControl) }

// suspicion is about the oldest message that the broker had not answered when it hung up.
type suspicion struct {
	flight *flight
	times  int // in a row
}

// hungUp reports whether a connection failed because the broker ended it.
func hungUp(reason error) bool {
	return errors.Is(reason, io.EOF) || errors.Is(reason, syscall.ECONNRESET) || errors.Is(reason, syscall.EPIPE)
}

// suspect takes note of why a connection has failed. It returns the messages that are given up for it, if there are any.
func (o *outgoing) suspect(reason error) []*flight {
	f := o.first
	for f != nil && (f.released || !f.sent || !f.onWire) {
		f = f.next
	}
	if f == nil || !hungUp(reason) {
		o.suspicion = suspicion{}
		return nil
	}
	if o.suspicion.flight != f {
		o.suspicion = suspicion{flight: f}
	}
	if o.suspicion.times++; o.suspicion.times < suspectRefused {
		return nil
	}
	more := o.hated.Load().with(f)
	o.hated.Store(more)
	given := []*flight{f}
	for g := f.next; g != nil; g = g.next {
		if !g.released && more.holds(g.topic()) {
			given = append(given, g)
		}
	}
	for _, g := range given {
		o.giveUp(g)
	}
	return given
}

// giveUp takes a message out of flight as refused.
func (o *outgoing) giveUp(f *flight) {
	o.store.DelPacket(f.id)
	if f.orphan = f.call == nil || f.call.left; f.orphan {
		o.orphans.Add(1)
	} else {
		f.call.refused = append(f.call.refused, f.uuid)
	}
	o.complete(f)
	o.refused.Add(1)
}

// refuses reports whether the broker is known to hang up on such a message, and refuses it then without a try.
func (o *outgoing) refuses(topic, uuid string, c *call) bool {
	if !o.hated.Load().holds(topic) {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	c.refused = append(c.refused, uuid)
	o.refused.Add(1)
	return true
}

// givenUp tells of a message that the broker hangs up on. Nothing else does where no Publish waits for it, as for one that
// was in flight when the process was killed: the loss stays in the report.
func (s *Session) givenUp(f *flight) {
	level := slog.LevelWarn
	if f.orphan {
		level = slog.LevelError
		s.mu.Lock()
		s.loss = fmt.Sprintf("%d messages lost, the last to topic %.80q: the broker hangs up whenever it gets them",
			s.out.orphans.Load(), f.topic())
		s.mu.Unlock()
	}
	s.log.Log(s.ctx, level, "broker hangs up whenever it gets this message: it is given up",
		"topic", f.topic(), "bytes", len(f.packet), "uuid", f.uuid, "lost", f.orphan)
}

// suspects reports whether a message is suspected: then it is tried again soon, for everything waits for it.
func (o *outgoing) suspects() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.suspicion.flight != nil
}

// testing reports whether what is suspected is sent alone: no other message can be the reason, and nothing is gained by a pause.
func (o *outgoing) testing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.suspicion.flight != nil && o.suspicion.times >= suspectAlone
}

// alone reports whether the suspect is on the wire and nothing may follow it.
func (o *outgoing) alone() bool {
	f := o.suspicion.flight
	return f != nil && o.suspicion.times >= suspectAlone && f.onWire && !f.released
}

// cleared ends the suspicion of a message that the broker has answered.
func (o *outgoing) cleared(f *flight) {
	if o.suspicion.flight == f {
		o.suspicion = suspicion{}
	}
}

// topic returns the topic of the flight's PUBLISH.
func (f *flight) topic() string {
	if len(f.packet) == 0 || f.packet[0]>>4 != packets.Publish {
		return ""
	}
	_, n := binary.Uvarint(f.packet[1:])
	length := binary.BigEndian.Uint16(f.packet[1+n:])
	return string(f.packet[3+n : 3+n+int(length)])
}

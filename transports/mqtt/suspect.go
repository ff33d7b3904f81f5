package mqtt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"

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

// suspicion is about the oldest message that the broker had not answered when it hung up.
type suspicion struct {
	flight *flight
	times  int // in a row
}

// hungUp reports whether a connection failed because the broker ended it.
func hungUp(reason error) bool {
	return errors.Is(reason, io.EOF) || errors.Is(reason, syscall.ECONNRESET) || errors.Is(reason, syscall.EPIPE)
}

// suspect takes note of why a connection has failed. It returns the message that is given up for it, if there is one.
func (o *outgoing) suspect(reason error) *flight {
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
	o.store.DelPacket(f.id)
	if f.orphan = f.call == nil || f.call.left; f.orphan {
		o.orphans.Add(1)
	} else {
		f.call.refused = append(f.call.refused, f.uuid)
	}
	o.complete(f)
	o.refused.Add(1)
	return f
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

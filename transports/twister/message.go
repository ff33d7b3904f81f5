package twister

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/transports"
)

// mqttMessage is a message as it travels outside of frames.
type mqttMessage struct {
	topic   string
	qos     byte
	retain  bool
	payload []byte
}

// bareMessage returns the message that Publish was given.
func bareMessage(m *message.Message) (mqttMessage, error) {
	b := mqttMessage{topic: m.Metadata.Get(transports.MetaTopic), retain: m.Metadata.Get(transports.MetaRetain) == "1", payload: m.Payload}
	if qos := m.Metadata.Get(transports.MetaQoS); qos != "" {
		if len(qos) != 1 || qos[0] < '0' || qos[0] > '2' {
			return b, transports.Permanent(fmt.Errorf("metadata %s: no QoS %q, want 0, 1 or 2", transports.MetaQoS, qos))
		}
		b.qos = qos[0] - '0'
	}
	if !validTopic(b.topic) {
		return b, transports.Permanent(fmt.Errorf("metadata %s: %q is no topic", transports.MetaTopic, b.topic))
	}
	return b, nil
}

func validTopic(topic string) bool { return matching.ValidateTopic(topic) == nil }

// message returns the message as a subscription delivers it.
func (b mqttMessage) message(from string, k int) *message.Message {
	m := message.NewMessage(from+"-"+strconv.Itoa(k), b.payload)
	m.Metadata.Set(transports.MetaFrom, from)
	m.Metadata.Set(transports.MetaTopic, b.topic)
	m.Metadata.Set(transports.MetaQoS, string('0'+b.qos))
	if b.retain {
		m.Metadata.Set(transports.MetaRetain, "1")
	}
	return m
}

// pack returns the message as bytes: QoS and retain in one, the length of the topic, the topic, the payload.
func (b mqttMessage) pack() []byte {
	first := b.qos
	if b.retain {
		first |= 4
	}
	data := binary.AppendUvarint([]byte{first}, uint64(len(b.topic)))
	return append(append(data, b.topic...), b.payload...)
}

func unpackMessage(data []byte) (mqttMessage, error) {
	r := reader{rest: data}
	first := r.byte()
	b := mqttMessage{qos: first & 3, retain: first&4 != 0}
	b.topic = string(r.bytes(r.number(1<<16 - 1)))
	b.payload = r.rest
	if r.bad || first > 7 || b.qos > 2 || !validTopic(b.topic) {
		return b, errMalformed
	}
	return b, nil
}

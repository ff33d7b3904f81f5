package mqtt

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/weft-relay/weft/transports"
)

// Publication is one MQTT application message.
type Publication struct {
	Topic    string // topic name [MQTT-4.7.3-1]
	Payload  []byte
	QoS      byte // 0, 1 or 2
	Retain   bool
	PacketID uint16 // of an incoming message at QoS 1 or 2; ignored in an outgoing one
}

const (
	maxRemaining = 268_435_455 // bytes after the fixed header, MQTT 2.2.3
	maxString    = 65_535      // bytes of an encoded string, MQTT 1.5.3

	ackLen = 4 // bytes of a PUBACK, PUBREC, PUBREL or PUBCOMP

	dupFlag    = 0x08
	retainFlag = 0x01

	pubackHeader  = packets.Puback << 4
	pubrecHeader  = packets.Pubrec << 4
	pubrelHeader  = packets.Pubrel<<4 | 0x02 // [MQTT-3.6.1-1]
	pubcompHeader = packets.Pubcomp << 4
)

var errMalformed = errors.New("malformed packet")

// checkTopic returns a permanent error when topic is not a topic name that may be published to.
func checkTopic(topic string) error {
	reason := ""
	switch {
	case topic == "":
		reason = "is empty" // [MQTT-4.7.3-1]
	case len(topic) > maxString:
		reason = "is longer than 65,535 bytes" // [MQTT-4.7.3-3]
	case strings.ContainsAny(topic, "+#"):
		reason = "holds a wildcard" // [MQTT-3.3.2-2]
	case strings.IndexByte(topic, 0) >= 0:
		reason = "holds the character U+0000" // [MQTT-4.7.3-2]
	case !utf8.ValidString(topic):
		reason = "is not valid UTF-8" // [MQTT-1.5.3-1]
	default:
		return nil
	}
	return transports.Permanent(fmt.Errorf("topic %.80q %s", topic, reason))
}

// encodePublish returns the PUBLISH packet of p. The identifier is written at QoS 1 and 2 only.
func encodePublish(p Publication, id uint16) ([]byte, error) {
	if err := checkTopic(p.Topic); err != nil {
		return nil, err
	}
	if p.QoS > 2 {
		return nil, transports.Permanent(fmt.Errorf("publish %.80q: no QoS %d", p.Topic, p.QoS)) // [MQTT-3.3.1-4]
	}
	remaining := 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		remaining += 2
	}
	if remaining > maxRemaining {
		return nil, transports.Permanent(fmt.Errorf("publish %.80q: %d bytes are more than an MQTT packet holds", p.Topic, remaining))
	}
	header := byte(packets.Publish<<4) | p.QoS<<1
	if p.Retain {
		header |= retainFlag
	}
	b := make([]byte, 0, remaining+5)
	b = append(b, header)
	b = binary.AppendUvarint(b, uint64(remaining)) // the remaining length is little-endian base 128, as Go's varint
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Topic)))
	b = append(b, p.Topic...)
	if p.QoS > 0 {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return append(b, p.Payload...), nil
}

// parsePublish reads the PUBLISH packet with the first header byte and the bytes after the fixed header. The payload
// shares body's memory.
func parsePublish(header byte, body []byte) (Publication, error) {
	p := Publication{QoS: header >> 1 & 3, Retain: header&retainFlag != 0}
	if p.QoS > 2 || len(body) < 2 {
		return p, fmt.Errorf("PUBLISH: %w", errMalformed)
	}
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	if len(body) < n {
		return p, fmt.Errorf("PUBLISH: %w", errMalformed)
	}
	p.Topic, body = string(body[:n]), body[n:]
	if p.QoS > 0 {
		if len(body) < 2 || body[0] == 0 && body[1] == 0 { // [MQTT-2.3.1-1]
			return p, fmt.Errorf("PUBLISH: %w", errMalformed)
		}
		p.PacketID, body = binary.BigEndian.Uint16(body), body[2:]
	}
	p.Payload = body
	return p, nil
}

// appendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP.
func appendAck(b []byte, header byte, id uint16) []byte {
	return append(b, header, 2, byte(id>>8), byte(id))
}

// readPacket reads one control packet. Bodies of at most len(scratch) bytes that are not of a PUBLISH share scratch.
func readPacket(r *bufio.Reader, scratch []byte) (header byte, body []byte, err error) {
	if header, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	length, shift := 0, 0
	for {
		digit, err := r.ReadByte()
		if err != nil {
			return 0, nil, unexpected(err)
		}
		length |= int(digit&0x7f) << shift
		if digit < 0x80 {
			break
		}
		if shift += 7; shift > 21 {
			return 0, nil, fmt.Errorf("remaining length: %w", errMalformed)
		}
	}
	if header>>4 != packets.Publish && length <= len(scratch) {
		body = scratch[:length]
	} else {
		body = make([]byte, length)
	}
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, unexpected(err)
	}
	return header, body, nil
}

// unexpected turns the end of the stream inside a packet into an error that says so.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

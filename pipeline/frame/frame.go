package frame

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Frame is a run of messages of one lane.
type Frame struct {
	Lane     uint64 // identifies the lane among its origin's: a hash of the lane's name
	Epoch    uint64 // of the origin's store: grows when the store is made anew
	Messages []Message
}

// MaxMessages bounds the messages of a frame, so that a small frame cannot cost much memory.
const MaxMessages = 1 << 16

// Field numbers of docs/wire-format.md.
const (
	fieldLane     = 1
	fieldEpoch    = 2
	fieldTime     = 3
	fieldMessage  = 4
	fieldSeq      = 1
	fieldTimeDiff = 2
	fieldTopic    = 3
	fieldPayload  = 4
	fieldFlags    = 5

	flagQoS    = 0b011
	flagRetain = 0b100
)

// ErrMalformed says that bytes are not what they should be. Errors of this package wrap it.
var ErrMalformed = errors.New("malformed frame")

// appendFrame appends the uncompressed body: a message with its predecessor's topic omits it, and sequence numbers and
// times are differences, so that a message of a busy lane costs six bytes beside its payload.
func appendFrame(b []byte, f *Frame) []byte {
	const beside = 16 // about what stands beside a payload
	size := 8 * beside
	for i := range f.Messages {
		size += len(f.Messages[i].Payload) + beside
	}
	b = slices.Grow(b, size)
	b = appendFixed64(b, fieldLane, f.Lane)
	b = appendVarint(b, fieldEpoch, f.Epoch)
	prev := Message{Time: time.UnixMilli(0)}
	if len(f.Messages) > 0 {
		prev.Time = f.Messages[0].Time
		b = appendVarint(b, fieldTime, uint64(prev.Time.UnixMilli()))
	}
	var scratch []byte
	for i := range f.Messages {
		scratch = appendMessage(scratch[:0], &f.Messages[i], &prev)
		b = protowire.AppendTag(b, fieldMessage, protowire.BytesType)
		b = protowire.AppendBytes(b, scratch)
		prev = f.Messages[i]
	}
	return b
}

func appendMessage(b []byte, m, prev *Message) []byte {
	if d := m.Seq - prev.Seq - 1; d != 0 {
		b = appendVarint(b, fieldSeq, d)
	}
	if d := m.Time.UnixMilli() - prev.Time.UnixMilli(); d != 0 {
		b = appendVarint(b, fieldTimeDiff, protowire.EncodeZigZag(d))
	}
	if m.Topic != prev.Topic {
		b = protowire.AppendTag(b, fieldTopic, protowire.BytesType)
		b = protowire.AppendString(b, m.Topic)
	}
	if len(m.Payload) > 0 {
		b = protowire.AppendTag(b, fieldPayload, protowire.BytesType)
		b = protowire.AppendBytes(b, m.Payload)
	}
	flags := uint64(m.QoS)
	if m.Retain {
		flags |= flagRetain
	}
	if flags != 0 {
		b = appendVarint(b, fieldFlags, flags)
	}
	return b
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendFixed64(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), v)
}

// parseFrame reads what appendFrame wrote. Payloads share memory with b. Fields it does not know are skipped.
func parseFrame(b []byte) (*Frame, error) {
	f := &Frame{}
	prev := Message{Time: time.UnixMilli(0)}
	err := eachField(b, func(field protowire.Number, v value) error {
		switch field {
		case fieldLane:
			f.Lane = v.number
		case fieldEpoch:
			f.Epoch = v.number
		case fieldTime:
			prev.Time = time.UnixMilli(int64(v.number))
		case fieldMessage:
			if len(f.Messages) == MaxMessages {
				return fmt.Errorf("%w: more than %d messages", ErrMalformed, MaxMessages)
			}
			m, err := parseMessage(v.bytes, &prev)
			if err != nil {
				return err
			}
			f.Messages = append(f.Messages, m)
			prev = m
		}
		return nil
	})
	return f, err
}

func parseMessage(b []byte, prev *Message) (Message, error) {
	m := Message{Seq: prev.Seq + 1, Time: prev.Time, Topic: prev.Topic}
	err := eachField(b, func(field protowire.Number, v value) error {
		switch field {
		case fieldSeq:
			m.Seq = prev.Seq + 1 + v.number
			if m.Seq <= prev.Seq {
				return fmt.Errorf("%w: sequence numbers do not grow", ErrMalformed)
			}
		case fieldTimeDiff:
			m.Time = prev.Time.Add(time.Duration(protowire.DecodeZigZag(v.number)) * time.Millisecond)
		case fieldTopic:
			m.Topic = string(v.bytes)
		case fieldPayload:
			m.Payload = v.bytes
		case fieldFlags:
			m.QoS, m.Retain = byte(v.number&flagQoS), v.number&flagRetain != 0
		}
		return nil
	})
	if err == nil && m.QoS > 2 {
		err = fmt.Errorf("%w: QoS 3", ErrMalformed) // [MQTT-3.3.1-4]
	}
	return m, err
}

// value is the content of one field: number for the numeric wire types, bytes for the delimited one.
type value struct {
	number uint64
	bytes  []byte
}

// eachField calls visit for every field of an encoded message.
func eachField(b []byte, visit func(protowire.Number, value) error) error {
	for len(b) > 0 {
		field, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		var v value
		switch typ {
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v.number, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, typ, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		if err := visit(field, v); err != nil {
			return err
		}
	}
	return nil
}

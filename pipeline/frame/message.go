// Package frame holds the messages that Weft carries and the frames it carries them in: their wire format, compression,
// signature and seal. docs/wire-format.md describes every byte.
package frame

import "time"

// Message is one MQTT application message on its way through a lane.
type Message struct {
	// Seq is the message's place in its origin's store: it only grows, with gaps. Together with the origin, the lane and
	// the store's epoch it is the identity of the message in one destination.
	Seq     uint64
	Time    time.Time // when the origin's relay took it from its broker, to the millisecond
	Topic   string    // topic name, valid by [MQTT-4.7.3-1]
	Payload []byte
	QoS     byte // 0, 1 or 2
	Retain  bool
}

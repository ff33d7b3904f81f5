package pipeline

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

// DeadTopic is where the local broker gets what can never be delivered.
const DeadTopic = "$weft/dead"

// maxDeadPayload is the largest payload in bytes that a dead letter repeats.
const maxDeadPayload = 256 << 10

// deadLetter is the JSON of a message on [DeadTopic].
type deadLetter struct {
	Reason  string    `json:"reason"`
	Lane    string    `json:"lane"` // "route/destination", or "from PEER" for what the local broker does not take
	Topic   string    `json:"topic"`
	QoS     byte      `json:"qos"`
	Retain  bool      `json:"retain"`
	Time    time.Time `json:"time"` // when the relay took the message from its broker, or gave it up
	Bytes   int       `json:"bytes"`
	Payload []byte    `json:"payload,omitempty"` // base64; left out when larger than 256 KiB
}

// deadLetters publishes what can never be delivered.
type deadLetters struct {
	sink  message.Publisher
	count atomic.Uint64
}

func (d *deadLetters) publish(ctx context.Context, letter deadLetter) error {
	letter.Bytes = len(letter.Payload)
	if letter.Bytes > maxDeadPayload {
		letter.Payload = nil
	}
	body, err := json.Marshal(letter)
	if err != nil {
		return err
	}
	msg := message.NewMessage(watermill.NewUUID(), body)
	msg.Metadata[transports.MetaTopic] = DeadTopic
	msg.Metadata[transports.MetaQoS] = "1"
	msg.SetContext(ctx)
	if err := d.sink.Publish(DeadTopic, msg); err != nil {
		return err
	}
	d.count.Add(1)
	return nil
}

package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
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

// maxDeadText is the longest topic or reason in bytes that a dead letter repeats whole.
const maxDeadText = 4 << 10

// deadLetter is the JSON of a message on [DeadTopic].
type deadLetter struct {
	Reason  string    `json:"reason"`
	Lane    string    `json:"lane"`  // "route/destination", or "from PEER" for what cannot be delivered here
	Topic   string    `json:"topic"` // the first 4 KiB; empty for a frame that cannot be read, which is then the payload
	QoS     byte      `json:"qos"`
	Retain  bool      `json:"retain"`
	Time    time.Time `json:"time"` // when the relay took the message from its broker, or gave it up
	Bytes   int       `json:"bytes"`
	Payload []byte    `json:"payload,omitempty"` // base64; left out when larger than 256 KiB
}

// deadLetters publishes what can never be delivered.
type deadLetters struct {
	sink  message.Publisher
	log   *slog.Logger
	count atomic.Uint64
}

// publish returns an error only when it must be tried again. A letter that the broker refuses goes without its payload, and if
// that is refused as well it is in the log alone.
func (d *deadLetters) publish(ctx context.Context, letter deadLetter) error {
	letter.Bytes = len(letter.Payload)
	letter.Topic, letter.Reason = start(letter.Topic), start(letter.Reason)
	if letter.Bytes > maxDeadPayload {
		letter.Payload = nil
	}
	err := d.send(ctx, letter)
	if refused(err) && letter.Payload != nil {
		letter.Payload = nil
		err = d.send(ctx, letter)
	}
	if refused(err) {
		d.log.Error("dead letter refused by the broker", "lane", letter.Lane, "topic", letter.Topic, "bytes", letter.Bytes, "reason", letter.Reason, "error", err)
		err = nil
	}
	if err == nil {
		d.count.Add(1)
	}
	return err
}

// start returns what a dead letter repeats of a text.
func start(text string) string {
	if len(text) <= maxDeadText {
		return text
	}
	return strings.ToValidUTF8(text[:maxDeadText], "") + "…"
}

func (d *deadLetters) send(ctx context.Context, letter deadLetter) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // people read it
	if err := encoder.Encode(letter); err != nil {
		return transports.Permanent(err)
	}
	msg := message.NewMessage(watermill.NewUUID(), bytes.TrimSpace(body.Bytes()))
	msg.Metadata[transports.MetaTopic] = DeadTopic
	msg.Metadata[transports.MetaQoS] = "1"
	msg.SetContext(ctx)
	return d.sink.Publish(DeadTopic, msg)
}

// refused reports whether the broker will never take what was published.
func refused(err error) bool {
	_, ok := errors.AsType[Refusal](err)
	return ok || transports.IsPermanent(err)
}

// maxLetters bounds the dead letters that one peer can cause here in a minute: what it sends on purpose must not flood the broker.
const maxLetters = 60

// quota counts the dead letters that peers have caused in this minute. The zero value is ready.
type quota struct {
	mu     sync.Mutex
	minute time.Time // when it began
	used   map[string]int
}

// take reports whether the peer may cause one more.
func (q *quota) take(peer string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now := time.Now(); now.Sub(q.minute) >= time.Minute {
		q.minute, q.used = now, make(map[string]int)
	}
	if q.used[peer] >= maxLetters {
		return false
	}
	q.used[peer]++
	return true
}

// giveBack says that one that was taken has not come about.
func (q *quota) giveBack(peer string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used[peer] = max(0, q.used[peer]-1)
}

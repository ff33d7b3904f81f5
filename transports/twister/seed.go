package twister

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// The seed's format: one message a post, as a JSON object with its topic, its quality of service and its payload in base64. The
// bridge in Python reads these three and looks at no others, so that there is room for the post's k, which keeps two texts of one
// second apart, and for the retain flag.
type seedPost struct {
	Topic   *string `json:"topic"`
	Payload *string `json:"payload"`
	QoS     byte    `json:"qos"`
	Retain  bool    `json:"retain"`
}

// Bare reports whether Publish is given single messages: with the seed's format, and for public posts that people can read.
func (t *Transport) Bare(topic string) bool {
	_, direct := transports.DirectPeer(topic)
	switch {
	case topic == transports.Broadcast:
		return t.config.Format == formatSeed || t.config.Readable
	case direct:
		return t.config.Format == formatSeed
	}
	return false
}

// seedText returns the message as the post k.
func (b mqttMessage) seedText(k int) string {
	retain := ""
	if b.retain {
		retain = `, "retain": true`
	}
	return fmt.Sprintf(`{"topic": %s, "payload": "%s", "qos": %d%s, "k": %d}`,
		quote(b.topic), base64.StdEncoding.EncodeToString(b.payload), b.qos, retain, k)
}

// quote returns text as JSON.
func quote(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string always can be
	return strings.TrimSuffix(b.String(), "\n")
}

// maxSeedK is a k of the greatest length.
const maxSeedK = 9_999_999

// seedFits returns an error that no retry cures if the message is too long for one post.
func (b mqttMessage) seedFits(limit int) error {
	if size := len(b.seedText(maxSeedK)); size > limit {
		return transports.Permanent(fmt.Errorf("message of %d bytes on %q makes %d in the seed's format, which has room for %d: send less, or use format: weft",
			len(b.payload), b.topic, size, limit))
	}
	return nil
}

// parseSeed returns the message that a text in the seed's format is.
func parseSeed(text string) (mqttMessage, bool) {
	var s seedPost
	if !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") || json.Unmarshal([]byte(text), &s) != nil {
		return mqttMessage{}, false
	}
	if s.Topic == nil || s.Payload == nil || s.QoS > 2 || !validTopic(*s.Topic) {
		return mqttMessage{}, false
	}
	payload, err := base64.StdEncoding.DecodeString(*s.Payload)
	return mqttMessage{topic: *s.Topic, qos: s.QoS, retain: s.Retain, payload: payload}, err == nil
}

// foreign returns the message that a direct message in the seed's format is, or nil.
func (t *Transport) foreign(from string, m rpc.Message) *message.Message {
	b, ok := parseSeed(m.Text)
	if !ok {
		return nil
	}
	return b.message(from, m.K)
}

// publishSeed sends messages to a user in the seed's format. It returns when the daemon has taken them: nobody says whether they
// arrive.
func (t *Transport) publishSeed(to string, messages []*message.Message) error {
	for _, m := range messages {
		if err := t.sendSeed(to, m); err != nil {
			return fmt.Errorf("publish to %q: %w", to, err)
		}
	}
	return nil
}

func (t *Transport) sendSeed(to string, m *message.Message) error {
	b, err := bareMessage(m)
	later := int(side(t.config.User, to))
	if err == nil {
		err = b.seedFits(maxText - later)
	}
	if err != nil {
		return err
	}
	ctx, cancel := t.during(m)
	defer cancel()
	// The peer may send the same in the same second at the same k, and then the blank behind it keeps the two apart (see epochFrom).
	text := func(k int) string { return b.seedText(k) + strings.Repeat(" ", later) }
	if _, err := t.poster.post(ctx, post{to: to, text: text, priority: priority(m)}); err != nil {
		return err
	}
	t.status.bytesOut.Add(uint64(len(m.Payload)))
	return nil
}

// during returns the context of a message, which ends with the transport too.
func (t *Transport) during(m *message.Message) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(m.Context())
	unhook := context.AfterFunc(t.ctx, cancel)
	return ctx, func() { unhook(); cancel() }
}

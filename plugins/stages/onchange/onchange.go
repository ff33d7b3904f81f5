// Package onchange is the stage on_change: of a topic's messages it lets those pass that bring something new.
package onchange

import (
	"container/list"
	"context"
	"crypto/sha256"
	"log/slog"
	"strings"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
)

// OnChange suppresses messages that repeat the last one of their topic that has passed.
type OnChange struct {
	config Config
	byName map[string]*list.Element // of topics, as *passed
	recent list.List                // the topic heard of last is in front
	out    []stage.Message
}

// passed is the last message of a topic that has passed.
type passed struct {
	topic  string
	value  []byte // the payload, or what stands for it
	digest bool   // value is a digest
	qos    byte
	retain bool
	at     time.Time
}

// New makes the stage.
func New(c Config, _ *slog.Logger) (*OnChange, error) {
	c.SetDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &OnChange{config: c, byName: map[string]*list.Element{}}, nil
}

// Process implements [stage.Stage].
func (s *OnChange) Process(_ context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
	clear(s.out) // what it points to may go
	s.out = s.out[:0]
	for _, m := range in {
		if s.isNews(now, m) {
			s.out = append(s.out, m)
		}
	}
	return stage.Output{Messages: s.out}, nil
}

// isNews decides on a message, and remembers it if it passes.
func (s *OnChange) isNews(now time.Time, m stage.Message) bool {
	found := s.byName[m.Topic]
	if m.Retain && len(m.Payload) == 0 {
		// A delete [MQTT-3.3.1-10] always passes: the far side may have a retained message that this stage knows nothing of.
		s.forget(found)
		return true
	}
	if found == nil {
		found = s.add(m.Topic)
	} else {
		s.recent.MoveToFront(found)
		if last := found.Value.(*passed); last.covers(m) && !s.silentTooLong(now, last) {
			return false
		}
	}
	found.Value.(*passed).set(now, m)
	return true
}

func (s *OnChange) silentTooLong(now time.Time, last *passed) bool {
	silent := now.Sub(last.at)
	return s.config.MaxSilence > 0 && (silent >= s.config.MaxSilence || silent < 0) // negative where the clock was set back
}

func (s *OnChange) add(topic string) *list.Element {
	if len(s.byName) == s.config.Topics {
		s.forget(s.recent.Back())
	}
	p := &passed{topic: strings.Clone(topic)}
	added := s.recent.PushFront(p)
	s.byName[p.topic] = added
	return added
}

func (s *OnChange) forget(found *list.Element) {
	if found != nil {
		delete(s.byName, found.Value.(*passed).topic)
		s.recent.Remove(found)
	}
}

// digestAbove is the length of payloads, in bytes, from which on their digest is remembered instead.
const digestAbove = 64

// covers reports whether m brings nothing that the message has not brought. One with a higher QoS does: the message may have been lost.
// So does one that is to be retained if the message was not.
func (p *passed) covers(m stage.Message) bool {
	if m.QoS > p.qos || m.Retain && !p.retain || p.digest != (len(m.Payload) > digestAbove) {
		return false
	}
	if p.digest {
		digest := sha256.Sum256(m.Payload)
		return string(p.value) == string(digest[:])
	}
	return string(p.value) == string(m.Payload)
}

func (p *passed) set(now time.Time, m stage.Message) {
	p.digest, p.qos, p.retain, p.at = len(m.Payload) > digestAbove, m.QoS, m.Retain, now
	if p.digest {
		digest := sha256.Sum256(m.Payload)
		p.value = append(p.value[:0], digest[:]...)
		return
	}
	p.value = append(p.value[:0], m.Payload...)
}

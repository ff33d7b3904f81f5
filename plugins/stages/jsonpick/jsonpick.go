// Package jsonpick is the stage json: it makes a part of a JSON payload the payload.
package jsonpick

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
)

// Pick takes a value out of JSON payloads.
type Pick struct {
	config  Config
	pointer pointer
	out     stage.Output
}

// New makes the stage.
func New(c Config, _ *slog.Logger) (*Pick, error) {
	c.SetDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p, err := parse(c.Pick)
	return &Pick{config: c, pointer: p}, err
}

// Process implements [stage.Stage].
func (s *Pick) Process(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	clear(s.out.Messages) // what it points to may go
	clear(s.out.Refused)
	s.out.Messages, s.out.Refused = s.out.Messages[:0], s.out.Refused[:0]
	for _, m := range in {
		s.take(m)
	}
	return s.out, nil
}

func (s *Pick) take(m stage.Message) {
	if m.Retain && len(m.Payload) == 0 {
		s.out.Messages = append(s.out.Messages, m) // it deletes what was picked before [MQTT-3.3.1-10]
		return
	}
	err := s.pick(m)
	switch {
	case err == nil || s.config.Missing == drop:
	case s.config.Missing == pass:
		s.out.Messages = append(s.out.Messages, m)
	default:
		s.out.Refused = append(s.out.Refused, stage.Refusal{ID: m.ID, Reason: err.Error()})
	}
}

// maxElements bounds what one message can make.
const maxElements = 10_000

var (
	errNoJSON  = errors.New("the payload is no JSON")
	errTooMany = fmt.Errorf("the array has more than %d elements", maxElements)
)

// pick adds what the message becomes to the output.
func (s *Pick) pick(m stage.Message) error {
	if !json.Valid(m.Payload) {
		return errNoJSON
	}
	value, ok := s.pointer.find(m.Payload)
	if !ok {
		return fmt.Errorf("the payload has no %s", s.config.Pick)
	}
	if s.config.Split {
		return s.split(m, value)
	}
	s.add(m, value)
	return nil
}

func (s *Pick) split(m stage.Message, array []byte) error {
	if array[0] != '[' {
		return fmt.Errorf("what is to be split is no array (pick: %q)", s.config.Pick)
	}
	before := len(s.out.Messages)
	for element := range elements(array) {
		if len(s.out.Messages)-before == maxElements {
			s.out.Messages = s.out.Messages[:before]
			return errTooMany
		}
		s.add(m, element)
	}
	return nil
}

// add adds the message with the value as its payload: a string as the text that it is, all else as it was written.
func (s *Pick) add(m stage.Message, value []byte) {
	m.Payload = slices.Clip(value)
	if value[0] == '"' {
		m.Payload = []byte(decode(value))
	}
	s.out.Messages = append(s.out.Messages, m)
}

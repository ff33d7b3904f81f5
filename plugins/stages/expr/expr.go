// Package expr is the stage expr: it filters and changes messages by expressions.
package expr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
)

// Expr filters and changes messages by expressions, which are compiled once.
type Expr struct {
	filter  *program // nil: all pass
	set     []setter
	onError string
	machine machine
	out     stage.Output
}

const setPayload = "set.payload"

// New makes the stage. Errors in expressions begin with their keys.
func New(c Config, _ *slog.Logger) (*Expr, error) {
	c.SetDefaults()
	s := &Expr{onError: c.OnError}
	errs := []error{c.check()}
	compile := func(key, source string, kind kind) *program {
		if source == "" {
			return nil
		}
		p, err := s.machine.compile(source, kind)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
		return p
	}
	s.filter = compile("filter", c.Filter, truth)
	for _, one := range []struct {
		key, source string
		kind        kind
		put         func(*stage.Message, any) error
	}{
		{setPayload, c.Set.Payload, anything, putPayload},
		{"set.topic", c.Set.Topic, text, putTopic},
		{"set.qos", c.Set.QoS, number, putQoS},
		{"set.retain", c.Set.Retain, truth, putRetain},
	} {
		if p := compile(one.key, one.source, one.kind); p != nil {
			s.set = append(s.set, setter{one.key, p, one.put})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// Process implements [stage.Stage].
func (s *Expr) Process(ctx context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	clear(s.out.Messages) // what it points to may go
	clear(s.out.Refused)
	s.out.Messages, s.out.Refused = s.out.Messages[:0], s.out.Refused[:0]
	defer s.machine.release()
	for _, m := range in {
		if err := ctx.Err(); err != nil {
			return stage.Output{}, err
		}
		s.take(m)
	}
	return s.out, nil
}

func (s *Expr) take(m stage.Message) {
	changed, passes, err := s.evaluate(m)
	switch {
	case err == nil && passes:
		s.out.Messages = append(s.out.Messages, changed)
	case err == nil || s.onError == drop:
	case s.onError == pass:
		s.out.Messages = append(s.out.Messages, m)
	default:
		s.out.Refused = append(s.out.Refused, stage.Refusal{ID: m.ID, Reason: shorten(err.Error())})
	}
}

// evaluate returns the message as the expressions have it, and whether it passes. A delete [MQTT-3.3.1-10] has no payload to look at: where
// the filter fails for that reason it passes, and it is never given a payload. Otherwise the far side would keep what is no more.
func (s *Expr) evaluate(m stage.Message) (changed stage.Message, passes bool, err error) {
	s.machine.load(m)
	deletes := m.Retain && len(m.Payload) == 0
	if s.filter != nil {
		passes, err := s.runFilter()
		if err != nil && deletes {
			passes, err = true, nil
		}
		if err != nil || !passes {
			return m, false, err
		}
	}
	changed = m
	for _, one := range s.set {
		if deletes && one.key == setPayload {
			continue
		}
		value, err := s.machine.run(one.program)
		if err == nil {
			err = one.put(&changed, value)
		}
		if err != nil {
			return m, false, fmt.Errorf("%s: %w", one.key, err)
		}
	}
	return changed, true, nil
}

func (s *Expr) runFilter() (bool, error) {
	value, err := s.machine.run(s.filter)
	if err != nil {
		return false, fmt.Errorf("filter: %w", err)
	}
	passes, ok := value.(bool)
	if !ok {
		return false, fmt.Errorf("filter: the result is of type %T, not true or false", value)
	}
	return passes, nil
}

// shorten keeps a reason short, whatever was in the message.
func shorten(text string) string {
	const most = 300
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}

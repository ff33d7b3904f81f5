// Package sample is the stage sample: it lets at most one message of a topic pass in an interval, the last one.
package sample

import (
	"container/list"
	"context"
	"log/slog"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
)

// Sample thins out topics. The first message of a topic passes and begins an interval. Of those that come within it the last one is
// kept back, and passes at the interval's end, where the next one begins.
type Sample struct {
	config  Config
	byName  map[string]*list.Element // of topics whose interval has not ended, as *interval
	ending  list.List                // the interval that ends first is in front
	waiting int                      // messages that are kept back
	bytes   int64                    // of their payloads

	// Of the call that is being processed.
	out     stage.Output
	touched []*slot // that have got a message
}

// New makes the stage.
func New(c Config, _ *slog.Logger) (*Sample, error) {
	c.SetDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Sample{config: c, byName: map[string]*list.Element{}}, nil
}

// Process implements [stage.Stage].
func (s *Sample) Process(_ context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
	s.reset()
	s.endIntervals(now)
	for _, m := range in {
		s.take(now, m)
	}
	for _, kept := range s.touched {
		if kept.waits && kept.fresh { // it may have gone since
			s.out.Kept = append(s.out.Kept, kept.message.ID)
			kept.fresh = false
		}
	}
	s.out.Again = time.Time{}
	if s.waiting > 0 {
		s.out.Again = s.ending.Front().Value.(*interval).end
	}
	return s.out, nil
}

func (s *Sample) reset() {
	clear(s.out.Messages) // what it points to may go
	clear(s.touched)
	s.out.Messages, s.out.Kept, s.out.Superseded, s.touched = s.out.Messages[:0], s.out.Kept[:0], s.out.Superseded[:0], s.touched[:0]
}

// take lets a message pass that is the first one of an interval, and keeps any other back.
func (s *Sample) take(now time.Time, m stage.Message) {
	found := s.byName[m.Topic]
	switch {
	case found == nil:
		s.out.Messages = append(s.out.Messages, m)
		s.add(now, m.Topic)
	case m.Retain && len(m.Payload) == 0:
		// A delete [MQTT-3.3.1-10] does not wait: whoever comes meanwhile must not find what is no more.
		s.supersede(found.Value.(*interval))
		s.out.Messages = append(s.out.Messages, m)
		s.begin(found, now)
	default:
		s.keep(found.Value.(*interval), m)
	}
}

// keep keeps a message back in the place of the one before it, except that one which is to be retained stays if the new one is not.
func (s *Sample) keep(i *interval, m stage.Message) {
	place := &i.plain
	if m.Retain {
		place = &i.retained
		s.drop(&i.retained)
	}
	s.drop(&i.plain)
	m.Topic = i.topic
	m.Payload = append(place.message.Payload[:0], m.Payload...)
	*place = slot{message: m, waits: true, fresh: true}
	s.touched = append(s.touched, place)
	s.waiting++
	s.bytes += int64(len(m.Payload))
	for s.bytes > s.config.Bytes {
		s.endEarly()
	}
}

func (s *Sample) supersede(i *interval) {
	s.drop(&i.retained)
	s.drop(&i.plain)
}

// drop gives up a message that is kept back.
func (s *Sample) drop(kept *slot) {
	if !kept.waits {
		return
	}
	if !kept.fresh { // else it was given in this call, and is in no list
		s.out.Superseded = append(s.out.Superseded, kept.message.ID)
	}
	kept.waits = false
	s.waiting--
	s.bytes -= int64(len(kept.message.Payload))
}

// letGo lets the messages pass that are kept back.
func (s *Sample) letGo(i *interval) {
	for _, kept := range []*slot{&i.retained, &i.plain} {
		if kept.waits {
			s.out.Messages = append(s.out.Messages, kept.message)
			s.waiting--
			s.bytes -= int64(len(kept.message.Payload))
		}
		*kept = slot{} // the payload is the caller's now
	}
}

// Package rename is the stage rename: it gives messages new topics.
package rename

import (
	"context"
	"log/slog"
	"time"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/stage"
)

// Rename gives the messages whose topics a filter matches topics that are made by a template.
type Rename struct {
	template *template
	others   string
	out      stage.Output
}

// New makes the stage.
func New(c Config, _ *slog.Logger) (*Rename, error) {
	c.SetDefaults()
	t, err := c.compile()
	if err != nil {
		return nil, err
	}
	return &Rename{template: t, others: c.Others}, nil
}

// Process implements [stage.Stage].
func (s *Rename) Process(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	clear(s.out.Messages) // what it points to may go
	clear(s.out.Refused)
	s.out.Messages, s.out.Refused = s.out.Messages[:0], s.out.Refused[:0]
	for _, m := range in {
		s.take(m)
	}
	return s.out, nil
}

func (s *Rename) take(m stage.Message) {
	renamed, ok := s.template.rename(m.Topic)
	if !ok {
		if s.others == pass {
			s.out.Messages = append(s.out.Messages, m)
		}
		return
	}
	if err := matching.ValidateTopic(renamed); err != nil {
		s.out.Refused = append(s.out.Refused, stage.Refusal{ID: m.ID, Reason: err.Error()})
		return
	}
	m.Topic = renamed
	s.out.Messages = append(s.out.Messages, m)
}

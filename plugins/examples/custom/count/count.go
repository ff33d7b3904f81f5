// Package count is a stage that numbers the messages of each topic: "21.5" becomes "1 21.5", the next one "2 20.9".
package count

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
)

// Config is what a configuration file says of the stage.
type Config struct {
	Start uint64 `yaml:"start" doc:"number of the first message"`
	Most  int    `yaml:"most" doc:"topics that are numbered; messages of further ones go on as they are"`
}

// SetDefaults is called before the file is read into it.
func (c *Config) SetDefaults() { c.Start, c.Most = 1, 1000 }

// Validate is called after. What stands before the first colon of an error is the key that it is reported at.
func (c *Config) Validate() error {
	if c.Most < 1 {
		return errors.New("most: less than 1; write how many topics may be numbered")
	}
	return nil
}

// Stage is one of them; each lane has its own.
type Stage struct {
	config Config
	next   map[string]uint64 // by topic
}

// New returns a stage that has seen nothing yet.
func New(c Config, _ *slog.Logger) (*Stage, error) {
	return &Stage{config: c, next: map[string]uint64{}}, nil
}

// Process implements stage.Stage.
func (s *Stage) Process(_ context.Context, _ time.Time, in []stage.Message) (out stage.Output, _ error) {
	for _, m := range in {
		n, known := s.next[m.Topic]
		if !known {
			n = s.config.Start
		}
		if known || len(s.next) < s.config.Most {
			s.next[m.Topic] = n + 1
			m.Payload = fmt.Appendf(nil, "%d %s", n, m.Payload)
		}
		out.Messages = append(out.Messages, m)
	}
	return out, nil
}

// Package decode is a stage that turns what a small sensor sends into JSON: two bytes, tenths of a degree.
package decode

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
)

// Config is what a configuration file says of the stage.
type Config struct {
	Unit   string `yaml:"unit" doc:"celsius or fahrenheit"`
	Suffix string `yaml:"suffix" doc:"put after the topic"`
}

// SetDefaults sets what holds when a key is not there.
func (c *Config) SetDefaults() { c.Unit = "celsius" }

// Validate reports what is wrong with the keys.
func (c *Config) Validate() error {
	if c.Unit != "celsius" && c.Unit != "fahrenheit" {
		return fmt.Errorf("unit: unknown unit %q; write celsius or fahrenheit", c.Unit)
	}
	return nil
}

// Stage decodes payloads.
type Stage struct{ config Config }

// New returns a stage.
func New(config Config, _ *slog.Logger) (*Stage, error) { return &Stage{config}, nil }

// Process decodes each message by itself.
func (s *Stage) Process(_ context.Context, _ time.Time, in []stage.Message) (out stage.Output, err error) {
	for _, m := range in {
		payload, err := s.decode(m.Payload)
		if err != nil {
			out.Refused = append(out.Refused, stage.Refusal{ID: m.ID, Reason: err.Error()})
			continue
		}
		m.Topic, m.Payload = m.Topic+s.config.Suffix, payload
		out.Messages = append(out.Messages, m)
	}
	return out, nil
}

func (s *Stage) decode(payload []byte) ([]byte, error) {
	if len(payload) != 2 {
		return nil, errors.New("a reading has two bytes")
	}
	degrees := float64(int16(binary.BigEndian.Uint16(payload))) / 10
	if s.config.Unit == "fahrenheit" {
		degrees = degrees*9/5 + 32
	}
	return fmt.Appendf(nil, `{"%s":%.1f}`, s.config.Unit, degrees), nil
}

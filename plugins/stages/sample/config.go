package sample

import (
	"errors"
	"fmt"
	"time"
)

// Config says how often a topic may pass.
type Config struct {
	Every time.Duration `yaml:"every" doc:"the interval in which at most one message of a topic passes, 10ms to 744h; required"`
	// Beyond Topics and Bytes the interval of the topic that has waited for the longest ends early: more passes, nothing is lost.
	Topics int   `yaml:"topics" doc:"how many topics are sampled at once"`
	Bytes  int64 `yaml:"bytes" weft:"size" doc:"how many bytes of payloads are kept back at most"`
}

// SetDefaults fills in what was left out.
func (c *Config) SetDefaults() {
	if c.Topics == 0 {
		c.Topics = 100_000
	}
	if c.Bytes == 0 {
		c.Bytes = 64 << 20
	}
}

// Validate reports everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	switch {
	case c.Every == 0:
		errs = append(errs, errors.New("every: no interval; give one such as 10s"))
	case c.Every < minEvery || c.Every > maxEvery:
		errs = append(errs, fmt.Errorf("every: %v is not in 10ms to 744h", c.Every))
	}
	if c.Topics < 1 || c.Topics > 100_000_000 {
		errs = append(errs, fmt.Errorf("topics: %d is not in 1 to 100000000", c.Topics))
	}
	if c.Bytes < 1 {
		errs = append(errs, fmt.Errorf("bytes: %d is less than 1", c.Bytes))
	}
	return errors.Join(errs...)
}

const (
	minEvery = 10 * time.Millisecond
	maxEvery = 744 * time.Hour // 31 days
)

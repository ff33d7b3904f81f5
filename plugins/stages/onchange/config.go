package onchange

import (
	"errors"
	"fmt"
	"time"
)

// Config says which messages count as news.
type Config struct {
	MaxSilence time.Duration `yaml:"max_silence" doc:"after so long an equal message passes all the same, as a sign of life; 0: never"`
	// Topics beyond this are forgotten, the one not heard of for the longest first: its next message passes. 100,000 take up to 40 MB.
	Topics int `yaml:"topics" doc:"how many topics are remembered, 1 to 100000000"`
}

// SetDefaults fills in what was left out.
func (c *Config) SetDefaults() {
	if c.Topics == 0 {
		c.Topics = 100_000
	}
}

// Validate reports everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	if c.MaxSilence < 0 {
		errs = append(errs, fmt.Errorf("max_silence: %v is negative; give a time such as 10m, or 0 for no limit", c.MaxSilence))
	}
	if c.Topics < 1 || c.Topics > 100_000_000 {
		errs = append(errs, fmt.Errorf("topics: %d is not in 1 to 100000000", c.Topics))
	}
	return errors.Join(errs...)
}

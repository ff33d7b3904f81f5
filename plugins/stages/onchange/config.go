package onchange

import (
	"errors"
	"fmt"
	"time"
)

// Config says which messages count as news.
type Config struct {
	// MaxSilence is how long equal messages of a topic are suppressed: the first one after it passes, as a sign of life. Default 0: for ever.
	MaxSilence time.Duration `yaml:"max_silence"`
	// Topics is how many topics are remembered; beyond, the one not heard of for the longest is forgotten, and its next message passes.
	// Default 100000, which takes up to 40 MB.
	Topics int `yaml:"topics"`
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

package rename

import (
	"errors"
	"fmt"

	"github.com/weft-relay/weft/matching"
)

// Config says which topics get which new ones.
type Config struct {
	From   string `yaml:"from" doc:"filter of the topics that are renamed, such as sensors/+/temp; required"`
	To     string `yaml:"to" doc:"the new topic, with {1} for what the first + of from matched, {2} for the second, and {#} as the last level for what # matched; required"`
	Others string `yaml:"others" enum:"pass,drop" doc:"what becomes of messages that from does not match"`
}

const (
	pass = "pass"
	drop = "drop"
)

// SetDefaults fills in what was left out.
func (c *Config) SetDefaults() {
	if c.Others == "" {
		c.Others = pass
	}
}

// Validate reports everything that is wrong.
func (c *Config) Validate() error {
	_, err := c.compile()
	return err
}

func (c *Config) compile() (*template, error) {
	var errs []error
	if err := matching.ValidateInterest(c.From); err != nil {
		errs = append(errs, fmt.Errorf("from: %w", err))
	}
	to, err := parse(c.From, c.To)
	if err != nil {
		errs = append(errs, fmt.Errorf("to: %w", err))
	}
	if c.Others != pass && c.Others != drop {
		errs = append(errs, fmt.Errorf("others: %q is neither %s nor %s", c.Others, pass, drop))
	}
	if len(errs) == 0 && to.loops() {
		errs = append(errs, fmt.Errorf("to: %q makes topics that from %q matches, and that would be renamed again and again; "+
			"choose a topic that from does not match", c.To, c.From))
	}
	return to, errors.Join(errs...)
}

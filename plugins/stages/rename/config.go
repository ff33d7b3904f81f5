package rename

import (
	"errors"
	"fmt"

	"github.com/weft-relay/weft/matching"
)

// Config says which topics get which new ones.
type Config struct {
	// From is a topic filter, such as "sensors/+/temp". Messages on other topics are treated as Others says.
	From string `yaml:"from"`
	// To is the new topic: {1} is the level that the first "+" of From has matched, {2} the second, and a last level {#} is all that "#"
	// has matched, such as "site/alice/{1}/temp".
	To string `yaml:"to"`
	// Others is what becomes of messages that From does not match: "pass", unchanged, or "drop". Default pass.
	Others string `yaml:"others"`
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

package jsonpick

import (
	"errors"
	"fmt"
)

// Config says which part of a JSON payload becomes the payload.
type Config struct {
	// Pick is a JSON pointer [RFC 6901], such as /sensors/0/temp; a "/" in a name is written ~1, and a "~" is written ~0. Empty, it is the
	// whole document.
	Pick string `yaml:"pick"`
	// Split makes a message of each element of the array that was picked.
	Split bool `yaml:"split"`
	// Missing is what becomes of a message in which there is no such value, or that is no JSON: "refuse" (it goes to the dead
	// letters), "pass" (unchanged), or "drop". Default refuse.
	Missing string `yaml:"missing"`
}

const (
	refuse = "refuse"
	pass   = "pass"
	drop   = "drop"
)

// SetDefaults fills in what was left out.
func (c *Config) SetDefaults() {
	if c.Missing == "" {
		c.Missing = refuse
	}
}

// Validate reports everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	if c.Pick == "" && !c.Split {
		errs = append(errs, errors.New("pick: nothing to do; give a pointer such as /temp, or split: true"))
	}
	if _, err := parse(c.Pick); err != nil {
		errs = append(errs, fmt.Errorf("pick: %w", err))
	}
	if c.Missing != refuse && c.Missing != pass && c.Missing != drop {
		errs = append(errs, fmt.Errorf("missing: %q is none of %s, %s and %s", c.Missing, refuse, pass, drop))
	}
	return errors.Join(errs...)
}

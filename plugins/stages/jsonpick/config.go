package jsonpick

import (
	"errors"
	"fmt"
)

// Config says which part of a JSON payload becomes the payload.
type Config struct {
	Pick    string `yaml:"pick" doc:"JSON pointer (RFC 6901) to the new payload, such as /sensors/0/temp; empty for the whole document"`
	Split   bool   `yaml:"split" doc:"makes a message of each element of the array that was picked"`
	Missing string `yaml:"missing" enum:"refuse,pass,drop" doc:"what becomes of a message without such a value: refuse moves it to the dead letters, pass lets it pass unchanged"`
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

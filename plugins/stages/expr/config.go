package expr

import (
	"errors"
	"fmt"
)

// Config says which messages pass, and what is changed of them. Its expressions are written in the language of github.com/expr-lang/expr.
type Config struct {
	// Filter is true for messages that pass, such as `json.temp > 20 and qos > 0`. Without it all do.
	Filter string `yaml:"filter"`
	// Set is what is changed of the messages that pass.
	Set Set `yaml:"set"`
	// OnError is what becomes of a message for which an expression cannot be evaluated, because its payload is no JSON, say:
	// "refuse" (it goes to the dead letters), "pass" (unchanged), or "drop". Default refuse.
	OnError string `yaml:"on_error"`
}

// Set has an expression for each part of a message that is to be changed. All of them see the message as it was given.
type Set struct {
	Payload string `yaml:"payload"` // text and bytes are taken as they are, other values are written as JSON
	Topic   string `yaml:"topic"`   // a text that is a topic name
	QoS     string `yaml:"qos"`     // 0, 1 or 2
	Retain  string `yaml:"retain"`  // true or false
}

const (
	refuse = "refuse"
	pass   = "pass"
	drop   = "drop"
)

// SetDefaults fills in what was left out.
func (c *Config) SetDefaults() {
	if c.OnError == "" {
		c.OnError = refuse
	}
}

// Validate reports everything that is wrong, in the expressions too.
func (c *Config) Validate() error {
	_, err := New(*c, nil)
	return err
}

// check reports what is wrong besides the expressions.
func (c *Config) check() error {
	var errs []error
	if c.Filter == "" && c.Set == (Set{}) {
		errs = append(errs, errors.New("filter: nothing to do; give filter, or set"))
	}
	if c.OnError != refuse && c.OnError != pass && c.OnError != drop {
		errs = append(errs, fmt.Errorf("on_error: %q is none of %s, %s and %s", c.OnError, refuse, pass, drop))
	}
	return errors.Join(errs...)
}

package expr

import (
	"errors"
	"fmt"
)

// Config says which messages pass, and what is changed of them. Its expressions are written in the language of github.com/expr-lang/expr.
type Config struct {
	Filter  string `yaml:"filter" doc:"true for messages that pass, such as json.temp > 20; without it all do"`
	Set     Set    `yaml:"set"`
	OnError string `yaml:"on_error" enum:"refuse,pass,drop" doc:"what becomes of a message for which an expression fails: refuse moves it to the dead letters, pass lets it pass unchanged"`
}

// Set has an expression for each part of a message that is to be changed. All of them see the message as it was given.
type Set struct {
	Payload string `yaml:"payload" doc:"the new payload: text and bytes as they are, all else as JSON"`
	Topic   string `yaml:"topic" doc:"the new topic"`
	QoS     string `yaml:"qos" doc:"the new QoS: 0, 1 or 2"`
	Retain  string `yaml:"retain" doc:"the new retain flag: true or false"`
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

package twister

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// Config says which daemon the node talks to, as which user, and how it spends that user's posts.
type Config struct {
	// URL is http://USER:PASSWORD@HOST:PORT, with rpcuser, rpcpassword and rpcport of twister.conf.
	URL  string `yaml:"url" weft:"secret" doc:"http://USER:PASSWORD@HOST:PORT with rpcuser, rpcpassword and rpcport"`
	User string `yaml:"user" doc:"this node's user, 1 to 16 of a-z, 0-9 and _"`

	Register bool   `yaml:"register" doc:"registers the user if the block chain does not have it, and waits for the block"`
	Follow   string `yaml:"follow" enum:"auto,check" doc:"auto follows oneself and every peer, as receiving needs; check only warns"`

	// ProfileField is the key in the user's profile under which the filters stand, as a list of strings. Default mqtt_topics.
	ProfileField string        `yaml:"profile_field" doc:"the key in the user's profile under which the filters stand, as a list"`
	ProfilePoll  time.Duration `yaml:"profile_poll" doc:"how often the peers' profiles are read"`

	// Format is "weft", or "seed": one message per post, as the Python bridge that Weft began as sends and reads it. The seed's
	// format is understood always.
	Format string `yaml:"format" enum:"weft,seed" doc:"seed sends one message a post, as the Python bridge does that Weft began as"`
	// Receipts is "on", or "off" where the peers send none: then a message counts as delivered once the own daemon has taken it.
	// Default on, and off with format seed.
	Receipts     string        `yaml:"receipts" enum:"on,off" doc:"off: a message counts as delivered when the own daemon has taken it"`
	ReceiptDelay time.Duration `yaml:"receipt_delay" doc:"how long a receipt waits for a frame to ride on before it costs a post of its own"`
	ResendAfter  time.Duration `yaml:"resend_after" doc:"how long a message waits for its receipt before it is posted again"`

	Poll     time.Duration `yaml:"poll" doc:"how often messages and posts are asked for; 50ms or more"`
	Readable bool          `yaml:"readable" doc:"public posts that people can read, where topic and payload are text"`
	Margin   int           `yaml:"margin" doc:"posts that are never spent, 1 to 10000"`

	Peers []string `yaml:"-"` // the users of the node's peers
	Feeds []string `yaml:"-"` // the users whose public posts are read; the peers if nil
	// Second is the second in which twisterd's habits were measured; a shorter one is for tests, whose daemons are as much quicker, and
	// lets Poll be as short. Default 1s.
	Second  time.Duration `yaml:"-"`
	DataDir string        `yaml:"-"` // where each user has a folder with his k, positions and caches, for one transport at a time
}

// folder is where the state of the user is. No other user uses his k.
func (c *Config) folder() string { return filepath.Join(c.DataDir, c.User) }

// Values of Config.Follow, Format and Receipts.
const (
	followAuto  = "auto"
	followCheck = "check"

	formatWeft = "weft"
	formatSeed = "seed"

	receiptsOn  = "on"
	receiptsOff = "off"
)

// SetDefaults fills in what was left out.
func (c *Config) SetDefaults() {
	setDefault(&c.Follow, followAuto)
	setDefault(&c.ProfileField, "mqtt_topics")
	setDefault(&c.ProfilePoll, time.Minute)
	setDefault(&c.Format, formatWeft)
	setDefault(&c.ReceiptDelay, 10*time.Second)
	setDefault(&c.ResendAfter, 10*time.Minute)
	setDefault(&c.Poll, time.Second)
	setDefault(&c.Margin, 10)
	setDefault(&c.Second, time.Second)
	if c.Feeds == nil {
		c.Feeds = c.Peers
	}
}

func setDefault[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

// receipts returns Receipts, or what stands for it where it was left out.
func (c *Config) receipts() string {
	switch {
	case c.Receipts != "":
		return c.Receipts
	case c.Format == formatSeed:
		return receiptsOff
	}
	return receiptsOn
}

// minPoll leaves the daemon time for other work.
const minPoll = 50 * time.Millisecond

// AtMostOnce reports whether direct messages are sent without receipts, so that a crash of the daemon can lose them.
func (c *Config) AtMostOnce() bool { return c.receipts() == receiptsOff }

// maxMargin is far beyond what any lag of a chain needs.
const maxMargin = 10_000

// Validate reports everything that is wrong with the configuration's own keys, without connecting or opening a file. It never shows
// the password.
func (c *Config) Validate() error {
	var errs []error
	if _, err := rpc.New(rpc.Config{URL: c.URL}); err != nil {
		errs = append(errs, fmt.Errorf("url: %w", err))
	}
	if c.User == "" {
		errs = append(errs, errors.New("user: required: the user whose key is in this daemon's wallet; register: true makes a new one"))
	} else if !rpc.ValidName(c.User) {
		errs = append(errs, fmt.Errorf("user: %q: %w", c.User, rpc.ErrBadName))
	}
	if c.ProfileField == "" {
		errs = append(errs, errors.New("profile_field: no key; give one, such as mqtt_topics"))
	}
	for _, word := range []struct {
		key, value string
		want       [2]string
	}{
		{"follow", c.Follow, [2]string{followAuto, followCheck}},
		{"format", c.Format, [2]string{formatWeft, formatSeed}},
		{"receipts", c.receipts(), [2]string{receiptsOn, receiptsOff}},
	} {
		if !slices.Contains(word.want[:], word.value) {
			errs = append(errs, fmt.Errorf("%s: %q is neither %s nor %s", word.key, word.value, word.want[0], word.want[1]))
		}
	}
	if c.Format == formatSeed && c.Receipts == receiptsOn {
		errs = append(errs, errors.New("receipts: the seed's format knows none; use off, or format weft"))
	}
	for _, period := range []struct {
		key   string
		value time.Duration
	}{
		{"profile_poll", c.ProfilePoll}, {"receipt_delay", c.ReceiptDelay}, {"resend_after", c.ResendAfter}, {"poll", c.Poll},
	} {
		if period.value <= 0 {
			errs = append(errs, fmt.Errorf("%s: %v is not more than 0", period.key, period.value))
		}
	}
	if c.Poll > 0 && c.Poll < minPoll && c.Second >= time.Second {
		errs = append(errs, fmt.Errorf("poll: %v is less than %v", c.Poll, minPoll))
	}
	if c.Margin < 1 || c.Margin > maxMargin {
		errs = append(errs, fmt.Errorf("margin: %d is not in 1 to %d", c.Margin, maxMargin))
	}
	return errors.Join(errs...)
}

// CheckWishes returns an error if these filters are too many for the user's profile, whatever else stands in it, or cannot stand there.
func (c *Config) CheckWishes(filters []string) error {
	var none *profile
	return fits(c.User, c.ProfileField, none.with(c.ProfileField, filters))
}

// validatePeers reports what is wrong with what the node itself fills in.
func (c *Config) validatePeers() error {
	var errs []error
	for _, peer := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(c.Peers, c.Feeds)))) {
		if !rpc.ValidName(peer) {
			errs = append(errs, fmt.Errorf("peer %q: %w", peer, rpc.ErrBadName))
		}
	}
	if c.DataDir == "" {
		errs = append(errs, errors.New("no folder to keep the transport's state in"))
	}
	return errors.Join(errs...)
}

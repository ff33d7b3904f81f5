package twister

import "time"

// Config says which daemon the node talks to, as which user, and how it spends that user's posts.
type Config struct {
	// URL is http://USER:PASSWORD@HOST:PORT, with rpcuser, rpcpassword and rpcport of twister.conf.
	URL  string `yaml:"url" weft:"secret"`
	User string `yaml:"user"` // this node's user: 1 to 16 of a-z, 0-9 and _

	Register bool   `yaml:"register"` // register the user if the block chain does not have it
	Follow   string `yaml:"follow"`   // "auto" follows oneself and every peer; "check" only warns. Default auto

	// ProfileField is the key in the user's profile under which the filters stand, as a list of strings. Default mqtt_topics.
	ProfileField string        `yaml:"profile_field"`
	ProfilePoll  time.Duration `yaml:"profile_poll"` // how often the peers' profiles are read; default 1m

	// Format is "weft", or "seed": one message per post, as the Python bridge that Weft began as sends and reads it. The seed's
	// format is understood always.
	Format string `yaml:"format"`
	// Receipts is "on", or "off" where the peers send none: then a message counts as delivered once the own daemon has taken it.
	// Default on, and off with format seed.
	Receipts     string        `yaml:"receipts"`
	ReceiptDelay time.Duration `yaml:"receipt_delay"` // how long a receipt waits for a frame to ride on; default 10s
	ResendAfter  time.Duration `yaml:"resend_after"`  // how long a post waits for its receipt at first; doubles. Default 10m

	Poll     time.Duration `yaml:"poll"`     // how often messages and posts are asked for; default 1s
	Readable bool          `yaml:"readable"` // public posts that people can read where topic and payload are text
	Margin   int           `yaml:"margin"`   // posts that are never spent, for the recipients' chains may lag; default 10

	Node    string   `yaml:"-"` // this node's name
	Peers   []string `yaml:"-"` // the users of the node's peers
	DataDir string   `yaml:"-"` // where k, positions and caches are kept; of this transport alone
}

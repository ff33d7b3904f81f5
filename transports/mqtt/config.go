package mqtt

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Config says which broker a [Session] speaks to, and how.
type Config struct {
	URL      string `yaml:"url" weft:"secret" doc:"mqtt, mqtts, ws or wss, host and port"`
	Username string `yaml:"username" doc:"user name; wins over one in the URL"`
	Password string `yaml:"password" weft:"secret" doc:"password of the user"`
	ClientID string `yaml:"client_id" doc:"names the session that the broker keeps while the node is away"`
	TLS      TLS    `yaml:"tls" doc:"files of a TLS connection"`

	KeepAlive    time.Duration `yaml:"keep_alive" doc:"a dead connection is noticed within twice this"`
	ReconnectMin time.Duration `yaml:"reconnect_min" doc:"the first pause between attempts to connect"`
	ReconnectMax time.Duration `yaml:"reconnect_max" doc:"the longest pause between attempts to connect"`
	Window       int           `yaml:"window" doc:"messages that the node reads before it has stored the first"`
	MaxInflight  int           `yaml:"max_inflight" doc:"messages at QoS 1 and 2 that are published and not yet answered, 1 to 32768"`

	// MaxInflightQoS2 bounds the PUBLISH packets at QoS 2 that wait for their PUBREC. Mosquitto silently throws away what
	// exceeds its max_inflight_messages, which is 20 unless it is configured: so is the default here.
	MaxInflightQoS2 int `yaml:"max_inflight_qos2" doc:"of these at QoS 2"`

	// EndWhenRefused ends the session where the broker refuses the login or the client identifier, instead of trying again:
	// what waits returns [ErrClosed], and the report says why. It is for clients that a person watches.
	EndWhenRefused bool `yaml:"-"`
}

// TLS names the files of a TLS connection, all optional: without CA the system's roots are trusted.
type TLS struct {
	CA   string `yaml:"ca" weft:"file" doc:"file with the authorities that are trusted, PEM"`
	Cert string `yaml:"cert" weft:"file" doc:"file with the certificate of this client, PEM"`
	Key  string `yaml:"key" weft:"file" doc:"file with its private key, PEM"`
}

// SetDefaults fills what was left zero.
func (c *Config) SetDefaults() {
	setDefault(&c.KeepAlive, 10*time.Second)
	setDefault(&c.ReconnectMin, time.Second)
	setDefault(&c.ReconnectMax, max(30*time.Second, c.ReconnectMin))
	setDefault(&c.Window, 1)
	setDefault(&c.MaxInflight, 1024)
	setDefault(&c.MaxInflightQoS2, 20)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports everything that is wrong with c, joined. It expects the defaults to be set and reads no file.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	errs = append(errs, c.validateURL()...)
	check(len(c.ClientID) <= maxString, "client_id: longer than 65,535 bytes")
	check((c.TLS.Cert == "") == (c.TLS.Key == ""), "tls: cert and key go together")
	check(c.KeepAlive >= time.Second && c.KeepAlive <= 18*time.Hour, "keep_alive: %v, want 1s to 18h", c.KeepAlive)
	check(c.ReconnectMin > 0, "reconnect_min: %v, want more than 0", c.ReconnectMin)
	check(c.ReconnectMax >= c.ReconnectMin, "reconnect_max: %v is less than reconnect_min", c.ReconnectMax)
	check(c.Window >= 1, "window: %d, want at least 1", c.Window)
	check(c.MaxInflight >= 1 && c.MaxInflight <= 32_768, "max_inflight: %d, want 1 to 32768", c.MaxInflight)
	check(c.MaxInflightQoS2 >= 1, "max_inflight_qos2: %d, want at least 1", c.MaxInflightQoS2)
	return errors.Join(errs...)
}

// hostAndPort is what is a URL but for its scheme, and holds no password.
var hostAndPort = regexp.MustCompile(`^[A-Za-z0-9._-]+:[0-9]{1,5}$`)

// secure says for each scheme in its place which one encrypts; "" where it does so itself.
var secure = map[string]string{"mqtt": "mqtts", "mqtts": "", "ws": "wss", "wss": ""}

// validateURL repeats nothing of the URL that may hold a password.
func (c *Config) validateURL() (errs []error) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		return []error{errors.New("url: missing, want mqtt://host:1883")}
	case hostAndPort.MatchString(c.URL):
		return []error{fmt.Errorf("url: no scheme; write mqtt://%s", c.URL)}
	case err != nil:
		return []error{errors.New("url: not a URL, want mqtt://host:1883")}
	}
	encrypted, known := secure[u.Scheme]
	check(known, "url: unknown scheme %q, want mqtt, mqtts, ws or wss", u.Scheme)
	check(u.Hostname() != "", "url: no host, want %s://host", u.Scheme)
	_, portErr := strconv.ParseUint(cmp.Or(u.Port(), "1"), 10, 16)
	check(portErr == nil, "url: port %s is not in 1 to 65535", u.Port())
	if strings.HasPrefix(u.Scheme, "mqtt") {
		check(strings.Trim(u.Path, "/") == "" && u.RawQuery == "", "url: %s uses no path; leave out what follows the port, or write ws or wss, which have one", u.Scheme)
	}
	check(encrypted == "" || c.TLS == TLS{}, "tls: set, but %s:// does not use it; write %s://", u.Scheme, encrypted)
	return errs
}

// suspicion says what may be wrong where something listens, and ends or resets the connection instead of answering the CONNECT.
func (c *Config) suspicion(err error) string {
	if strings.HasPrefix(c.URL, "mqtt://") && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		return "; does this port expect TLS (mqtts)?"
	}
	return ""
}

// address is the URL without what may be secret in it.
func (c *Config) address() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return "" // Validate has refused it
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// clientID returns the client identifier and whether its session is clean.
func (c *Config) clientID() (id string, clean bool) {
	if c.ClientID != "" {
		return c.ClientID, false
	}
	return fmt.Sprintf("weft-%016x", rand.Uint64()), true
}

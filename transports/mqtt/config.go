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
	URL      string `yaml:"url" weft:"secret"` // mqtt://host:1883, mqtts://host:8883, ws://host/path or wss://host/path; may hold user and password
	Username string `yaml:"username"`          // wins over the URL's
	Password string `yaml:"password" weft:"secret"`
	ClientID string `yaml:"client_id"` // names the persistent session; empty: a random one, and a clean session
	TLS      TLS    `yaml:"tls"`

	KeepAlive    time.Duration `yaml:"keep_alive"`    // a dead link is noticed within twice this; 1 s to 18 h, default 10 s
	ReconnectMin time.Duration `yaml:"reconnect_min"` // first pause between attempts, doubled up to ReconnectMax; default 1 s
	ReconnectMax time.Duration `yaml:"reconnect_max"` // default 30 s
	Window       int           `yaml:"window"`        // messages handed to a consumer before it acknowledged the first; default 1
	MaxInflight  int           `yaml:"max_inflight"`  // messages at QoS 1 and 2 published and not yet answered; 1 to 32,768, default 1,024

	// MaxInflightQoS2 bounds the PUBLISH packets at QoS 2 that wait for their PUBREC. Mosquitto silently throws away what
	// exceeds its max_inflight_messages, which is 20 unless it is configured: so is the default here.
	MaxInflightQoS2 int `yaml:"max_inflight_qos2"`

	// EndWhenRefused ends the session where the broker refuses the login or the client identifier, instead of trying again:
	// what waits returns [ErrClosed], and the report says why. It is for clients that a person watches.
	EndWhenRefused bool `yaml:"-"`
}

// TLS names the files of a TLS connection, all optional: without CA the system's roots are trusted.
type TLS struct {
	CA   string `yaml:"ca" weft:"file"`   // PEM certificates of the authorities that are trusted
	Cert string `yaml:"cert" weft:"file"` // PEM certificate of this client, with Key
	Key  string `yaml:"key" weft:"file"`
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

package nats

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config says how a node reaches a NATS server with JetStream, or runs one itself.
type Config struct {
	// URL names the servers, separated by commas, as SCHEME://[USER:PASSWORD@]HOST[:PORT] where SCHEME is nats, tls, ws or
	// wss. One server of a cluster is enough to find the others; naming several lets a node start while one is down.
	URL string `yaml:"url" weft:"secret" doc:"nats, tls, ws or wss URLs, separated by commas"`

	User     string `yaml:"user" doc:"user name"`
	Password string `yaml:"password" weft:"secret" doc:"password of the user"`
	Token    string `yaml:"token" weft:"secret" doc:"token instead of a user"`
	NKey     string `yaml:"nkey" weft:"file" doc:"file with an NKey user seed"`
	Creds    string `yaml:"creds" weft:"file" doc:"credentials file"`
	TLS      TLS    `yaml:"tls" doc:"PEM files of an encrypted connection"`

	// Prefix separates meshes that share a NATS account: with the default "weft" the streams are WEFT_DIRECT and WEFT_FEED, the
	// bucket is WEFT_PROFILES and the subjects begin with "weft.". All nodes of a mesh need the same.
	Prefix string `yaml:"prefix" doc:"separates meshes that share an account: the same on all nodes of one"`
	// Limits of the streams, used only by the node that finds them missing and makes them.
	Limits Limits `yaml:"limits" doc:"limits of the streams, used by the node that makes them"`
	// Replicas of each stream in a cluster, 1 to 5; used only when it is made. Default 1.
	Replicas int `yaml:"replicas" doc:"of each stream in a cluster, 1 to 5"`

	// Embedded runs a NATS server inside the node, for itself and for others; url must be empty then. User and password, or
	// token, are asked of those who connect to it, and tls makes it serve TLS.
	Embedded Embedded `yaml:"embedded" doc:"runs a NATS server inside this node, for itself and others, instead of url"`

	Node   string   `yaml:"-"` // this node's name on the transport, [a-z0-9_-]{1,32}
	Follow []string `yaml:"-"` // nodes whose feeds this one subscribes to; itself is left out
}

// TLS names PEM files. With any of them the connection to every server is encrypted, whatever its scheme.
type TLS struct {
	CA   string `yaml:"ca" weft:"file" doc:"file with the authorities that are trusted, PEM"`
	Cert string `yaml:"cert" weft:"file" doc:"file with this side's certificate, PEM"`
	Key  string `yaml:"key" weft:"file" doc:"file with its private key, PEM"`
}

// Limits of the streams that carry frames.
type Limits struct {
	Bytes  int64         `yaml:"bytes" weft:"size" doc:"size of each of the two streams"`
	Age    time.Duration `yaml:"age" doc:"frames that are not fetched for so long are lost"`
	Frames int64         `yaml:"frames" doc:"frames that wait for one peer"`
}

// Embedded is a NATS server inside the node. It is off while Listen is empty.
type Embedded struct {
	Listen   string `yaml:"listen" weft:"address" doc:"HOST:PORT: runs a NATS server inside this node, for itself and others, instead of url"`
	StoreDir string `yaml:"store_dir" weft:"path" doc:"path of the folder that it keeps its streams in"`
	// Sync is "default" (the server syncs to disk every two minutes: what it has acknowledged survives the end of the process, not
	// a power failure) or "always" (it syncs before it acknowledges).
	Sync string `yaml:"sync" enum:"default,always" doc:"always syncs the disk before each answer; default every two minutes"`
}

// SetDefaults fills in what was left out.
func (c *Config) SetDefaults() {
	setDefault(&c.Prefix, "weft")
	setDefault(&c.Limits.Age, 7*24*time.Hour)
	setDefault(&c.Limits.Frames, 1024)
	setDefault(&c.Replicas, 1)
	setDefault(&c.Embedded.Sync, syncDefault)
}

func setDefault[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

const (
	syncDefault = "default"
	syncAlways  = "always"
)

// A name is one token of a subject and part of the name of a stream or of a durable consumer.
var validName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// Validate reports everything that is wrong with the configuration's own keys, without connecting or opening a file.
func (c *Config) Validate() error {
	errs := c.validateServers()
	errs = append(errs, c.validateLogin()...)
	if !validName.MatchString(c.Prefix) {
		errs = append(errs, fmt.Errorf("prefix: %q is not a prefix; use 1 to 32 of a-z, 0-9, _ and -", c.Prefix))
	}
	if c.Limits.Bytes != 0 && c.Limits.Bytes < minBytes {
		errs = append(errs, fmt.Errorf("limits.bytes: %d is less than 1MiB", c.Limits.Bytes))
	}
	if c.Limits.Age < time.Minute {
		errs = append(errs, fmt.Errorf("limits.age: %v is less than 1m", c.Limits.Age))
	}
	if c.Limits.Frames < 1 {
		errs = append(errs, fmt.Errorf("limits.frames: %d is less than 1", c.Limits.Frames))
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		errs = append(errs, fmt.Errorf("replicas: %d is not in 1 to 5", c.Replicas))
	}
	if c.Embedded.Sync != syncDefault && c.Embedded.Sync != syncAlways {
		errs = append(errs, fmt.Errorf("embedded.sync: %q is neither %s nor %s", c.Embedded.Sync, syncDefault, syncAlways))
	}
	return errors.Join(errs...)
}

func (c *Config) validateServers() (errs []error) {
	switch {
	case c.URL == "" && c.Embedded.Listen == "":
		return []error{errors.New("url: no server; give url, such as nats://127.0.0.1:4222, or embedded.listen")}
	case c.URL != "" && c.Embedded.Listen != "":
		return []error{errors.New("url: set together with embedded; a node with an embedded server connects to that one")}
	case c.URL == "":
		if _, _, err := net.SplitHostPort(c.Embedded.Listen); err != nil {
			errs = append(errs, fmt.Errorf("embedded.listen: %q is not an address; write HOST:PORT", c.Embedded.Listen))
		}
		if c.NKey != "" || c.Creds != "" {
			errs = append(errs, errors.New("embedded: the embedded server knows user and password, or token; leave out nkey and creds"))
		}
		return errs
	}
	webSockets := 0
	servers := strings.Split(c.URL, ",")
	for _, server := range servers {
		// The message must not repeat the URL: it may hold a password.
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			errs = append(errs, errors.New("url: not a NATS server; write nats://HOST:PORT, tls://, ws:// or wss://, several separated by commas"))
			continue
		}
		if _, err := strconv.ParseUint(cmp.Or(u.Port(), "1"), 10, 16); err != nil {
			errs = append(errs, fmt.Errorf("url: port %s is not in 1 to 65535", u.Port()))
		}
		if strings.HasPrefix(u.Scheme, "ws") {
			webSockets++
		}
	}
	if webSockets != 0 && webSockets != len(servers) {
		errs = append(errs, errors.New("url: WebSocket and other servers do not mix; use one kind"))
	}
	return errs
}

func (c *Config) validateLogin() (errs []error) {
	ways := 0
	for _, way := range []string{c.User, c.Token, c.NKey, c.Creds} {
		if way != "" {
			ways++
		}
	}
	if ways > 1 {
		errs = append(errs, errors.New("user: more than one of user, token, nkey and creds; give one"))
	}
	if c.User == "" && c.Password != "" {
		errs = append(errs, errors.New("password: given without user"))
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key belong together; give both or neither"))
	}
	if c.Embedded.Listen != "" && c.TLS.CA != "" && c.TLS.Cert == "" {
		errs = append(errs, errors.New("tls: an embedded server needs cert and key to serve TLS"))
	}
	return errs
}

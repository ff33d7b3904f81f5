package plugins

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"path/filepath"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

const (
	defaultBroker = "mqtt://127.0.0.1:1883"
	// window is how many messages the node may read from its broker before it has stored the first: as many share one fsync.
	window = 4096
)

// Broker is the `broker` section: a broker that runs somewhere, or the built-in one.
type Broker struct {
	mqtt.Config `yaml:",inline"`
	Embedded    *mqtt.BrokerConfig `yaml:"embedded"`
}

// SetDefaults sets what the node wants otherwise than a plain MQTT client.
func (b *Broker) SetDefaults() {
	b.Window = window
	b.Config.SetDefaults()
}

// Validate reports everything that is wrong with the section, joined. The keys of embedded are validated by themselves.
func (b *Broker) Validate() error {
	config := b.remote()
	if b.Embedded == nil {
		return config.Validate()
	}
	config.URL = defaultBroker // the real one is as valid as embedded.listen
	errs := []error{config.Validate()}
	if b.URL != "" {
		errs = append(errs, errors.New("url: set together with embedded; a node with the built-in broker stands beside that one"))
	}
	// The node's own session must know where the broker is before it listens.
	if _, port, err := net.SplitHostPort(b.Embedded.Listen); err == nil && port == "0" {
		errs = append(errs, errors.New("embedded.listen: port 0 is another one at each start; name a port"))
	}
	return errors.Join(errs...)
}

// remote is how to reach a broker that is not built in.
func (b *Broker) remote() mqtt.Config {
	config := b.Config
	if config.URL == "" {
		config.URL = defaultBroker
	}
	return config
}

// local is how to reach the built-in broker as one of its users, if it has any.
func (b *Broker) local() mqtt.Config {
	config := b.Config
	config.URL = "mqtt://" + reachable(b.Embedded.Listen)
	if len(b.Embedded.Users) > 0 {
		config.Username, config.Password = b.Embedded.Users[0].Name, b.Embedded.Users[0].Password
	}
	return config
}

// Session is the node's session with its broker, and the broker itself if that is built in.
type Session struct {
	*mqtt.Session
	server *mqtt.Broker // nil if the broker is not built in
}

// NewBroker returns the node's session with the file's broker, which it runs if it is built in. It does no I/O. The store
// keeps what of the session must survive a restart; nil keeps it in memory.
func NewBroker(file *configs.File, store mqtt.Store, log *slog.Logger) (*Session, error) {
	section := file.Broker.(*Broker)
	config := section.remote()
	var server *mqtt.Broker
	if section.Embedded != nil {
		keep := *section.Embedded
		if keep.DataDir == "" {
			keep.DataDir = filepath.Join(file.Node.DataDir, "broker")
		}
		var err error
		if server, err = mqtt.NewBroker(keep, log); err != nil {
			return nil, file.Problem("broker.embedded", err)
		}
		config.URL = ownURL(server, keep.Listen)
		config.Username, config.Password = "", "" // those in the URL are let in whatever the users are
	}
	if config.ClientID == "" {
		config.ClientID = "weft-" + file.Node.Node
	}
	session, err := mqtt.New(config, store, nil, log)
	if err != nil {
		return nil, file.Problem("broker", err)
	}
	return &Session{session, server}, nil
}

// ownURL returns the URL of the process's own sessions before the broker listens.
func ownURL(server *mqtt.Broker, listen string) string {
	u, err := url.Parse(server.URL())
	if err != nil {
		panic(err) // the broker has made it
	}
	u.Host = reachable(listen)
	return u.String()
}

// reachable returns where this machine reaches what listens there: on all addresses, loopback's is one of them.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}

// Start starts the broker if it is built in, and begins connecting.
func (s *Session) Start(ctx context.Context) error {
	if s.server == nil {
		return s.Session.Start(ctx)
	}
	if err := s.server.Start(ctx); err != nil {
		return err
	}
	if err := s.Session.Start(ctx); err != nil {
		return errors.Join(err, s.server.Close())
	}
	return nil
}

// Report implements [transports.Reporter]. What keeps the built-in broker from working explains more than what its own session
// sees of it.
func (s *Session) Report() transports.Report {
	r := s.Session.Report()
	if s.server == nil {
		return r
	}
	server := s.server.Report()
	maps.Copy(r.Dropped, server.Dropped)
	if server.State == transports.Stalled {
		r.State, r.Since, r.Detail = server.State, server.Since, server.Detail
	}
	return r
}

// Close disconnects, and stops the broker if it is built in.
func (s *Session) Close() error {
	err := s.Session.Close()
	if s.server != nil {
		err = errors.Join(err, s.server.Close())
	}
	return err
}

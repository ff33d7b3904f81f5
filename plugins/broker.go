package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

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
	Embedded    *mqtt.BrokerConfig `yaml:"embedded" doc:"runs the built-in broker, instead of url"`
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
	config.TLS = mqtt.TLS{}
	errs := []error{config.Validate()}
	if b.TLS != (mqtt.TLS{}) {
		errs = append(errs, errors.New("tls: set together with embedded; the built-in broker speaks no TLS, put a TLS proxy before it"))
	}
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

// local is how to reach the built-in broker as one of its users, if it has any: as the one that is named, or as the first who may
// do what is wanted.
func (b *Broker) local(want Access) (mqtt.Config, error) {
	config := b.Config
	config.URL = "mqtt://" + reachable(b.Embedded.Listen)
	users := b.Embedded.Users
	if len(users) == 0 && want.User == "" {
		return config, nil
	}
	able := slices.DeleteFunc(slices.Clone(users), func(u mqtt.User) bool { return !want.allowed(u) })
	who := able
	if want.User != "" {
		who = slices.DeleteFunc(slices.Clone(users), func(u mqtt.User) bool { return u.Name != want.User })
	}
	switch {
	case len(who) == 0 && want.User != "":
		return config, fmt.Errorf("broker.embedded.users: no user %q; there are: %s", want.User, names(users))
	case len(who) == 0 || !want.allowed(who[0]):
		return config, want.refusal(able)
	}
	config.Username, config.Password = who[0].Name, who[0].Password
	return config, nil
}

// Access is what a client wants at the built-in broker, and as which of its users.
type Access struct {
	User    string   // empty: the first who may
	Topic   string   // to publish to, or
	Filters []string // to subscribe to
}

func (a Access) allowed(u mqtt.User) bool {
	if a.Topic != "" {
		return u.MayPublish(a.Topic)
	}
	return !slices.ContainsFunc(a.Filters, func(filter string) bool { return !u.MaySubscribe(filter) })
}

// refusal says who may do what the user may not.
func (a Access) refusal(able []mqtt.User) error {
	what := fmt.Sprintf("publish to %q", a.Topic)
	if a.Topic == "" {
		what = fmt.Sprintf("read anything of %q", a.Filters)
	}
	if len(able) == 0 {
		return fmt.Errorf("broker.embedded.users: no user may %s; add it to the rights of one", what)
	}
	return fmt.Errorf("broker.embedded.users: user %q may not %s; these may: %s", a.User, what, names(able))
}

func names(users []mqtt.User) string {
	if len(users) == 0 {
		return "none, everybody may connect"
	}
	var all []string
	for _, u := range users {
		all = append(all, u.Name)
	}
	return strings.Join(all, ", ")
}

// Session is the node's session with its broker, and the broker itself if that is built in.
type Session struct {
	*mqtt.Session
	server *mqtt.Broker // nil if the broker is not built in
}

// NewBroker returns the node's session with the file's broker, which it runs if it is built in. It reads the TLS files, and does no other I/O. The store
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
	if err := config.CheckFiles(); err != nil {
		return nil, file.Problem("broker", err)
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

// Report implements [transports.Transport]. What keeps the built-in broker from working explains more than what its own session
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

package mqtt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/weft-relay/weft/transports"
)

// BrokerConfig describes the built-in broker.
type BrokerConfig struct {
	Listen  string `yaml:"listen" weft:"address" doc:"HOST:PORT: runs the built-in broker there, instead of url"`
	DataDir string `yaml:"data_dir" weft:"path" doc:"path of the folder with its sessions and retained messages"`
	Users   []User `yaml:"users" doc:"who may connect to it"`
	// SessionBytes bounds what waits for one client at QoS 1 and 2: topics and payloads. Default 100 MiB.
	SessionBytes int64 `yaml:"session_bytes" weft:"size" doc:"what may wait for one client at QoS 1 and 2"`
}

// SetDefaults fills in what was left out.
func (c *BrokerConfig) SetDefaults() {
	if c.SessionBytes == 0 {
		c.SessionBytes = 100 << 20
	}
}

// Validate reports everything that is wrong with c, joined.
func (c *BrokerConfig) Validate() error {
	var errs []error
	if c.SessionBytes < 0 {
		errs = append(errs, fmt.Errorf("session_bytes: %d is less than 0", c.SessionBytes))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen: %q is no host:port such as 127.0.0.1:1883", c.Listen))
	}
	for i, u := range c.Users {
		at := fmt.Sprintf("users[%d]", i)
		twice := slices.IndexFunc(c.Users[:i], func(other User) bool { return other.Name == u.Name })
		switch {
		case u.Name == "":
			errs = append(errs, fmt.Errorf("%s.name: missing; give the name that this user logs in with", at))
		case twice >= 0:
			errs = append(errs, fmt.Errorf("%s.name: a second user named %q; give each its own name", at, u.Name))
		}
		if u.Password == "" {
			errs = append(errs, fmt.Errorf("%s.password: missing, so that anybody may log in as this user; give one, or file:PATH", at))
		}
		errs = append(errs, checkFilters(at+".read", u.Read), checkFilters(at+".write", u.Write))
	}
	return errors.Join(errs...)
}

func checkFilters(at string, filters []string) error {
	var errs []error
	for i, filter := range filters {
		if err := checkFilter(filter, 0); err != nil {
			errs = append(errs, fmt.Errorf("%s[%d]: %w", at, i, err))
		}
	}
	return errors.Join(errs...)
}

// Broker is the MQTT broker built into the process: mochi's, mended by hooks. It speaks MQTT 3.1.1 and 5, and honours the
// bridge bit as Mosquitto does.
type Broker struct {
	cfg    BrokerConfig
	log    *slog.Logger
	notes  *notes
	own    User // of the process's own sessions
	quota  *quota
	server *mochi.Server

	mu       sync.Mutex
	listener *brokerListener
	store    *brokerStore
	persist  *persistHook
	started  time.Time
}

// ownPrefix begins the names of the process's own users, one a process.
const ownPrefix = "weft-"

// isOwn reports whether a user of that name was the own one of some process.
func isOwn(name string) bool {
	return strings.HasPrefix(name, ownPrefix) && len(name) == len(ownPrefix)+len(rand.Text())
}

// maxSession is how many messages wait for one client. Of the 65,535 identifiers the rest is for what the client sends.
const maxSession = 60_000

// NewBroker returns a broker that does nothing before Start.
func NewBroker(cfg BrokerConfig, log *slog.Logger) (*Broker, error) {
	cfg.SetDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg, log: log, notes: newNotes(log), own: User{Name: ownPrefix + rand.Text(), Password: rand.Text()},
		quota: newQuota(cfg.SessionBytes),
	}
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumMessageExpiryInterval = 0 // what is kept is kept until it is delivered
	capabilities.MaximumInflight = maxSession
	capabilities.ReceiveMaximum = 65_535
	capabilities.MaximumClientWritesPending = 70_000 // more than can be in flight: QoS 0 alone is dropped here
	b.server = mochi.New(&mochi.Options{
		Capabilities: capabilities, Logger: slog.New(mochiLog{log.Handler(), b.notes}),
		ClientNetWriteBufferSize: 1, // one packet a write: the connection gathers them itself
		ClientNetReadBufferSize:  4 << 10,
	})
	return b, nil
}

// Start implements [transports.Transport]: it reads what is kept in the data directory and listens. When it returns,
// clients can connect.
func (b *Broker) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", b.cfg.Listen)
	if err != nil {
		return fmt.Errorf("built-in broker: embedded.listen: %w; name an address that is free, or end what uses it", err)
	}
	store, err := openBrokerStore(b.cfg.DataDir, b.log)
	if err != nil {
		return errors.Join(fmt.Errorf("built-in broker: data_dir: %w", err), listener.Close())
	}
	own := &brokerListener{net: listener, store: store, notes: b.notes, conns: make(map[*brokerConn]struct{})}
	persist := &persistHook{broker: b, store: store, quota: b.quota}
	if err := b.serve(own, persist); err != nil {
		return errors.Join(fmt.Errorf("built-in broker: %w", err), listener.Close(), store.close())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listener, b.store, b.persist, b.started = own, store, persist, time.Now()
	return nil
}

func (b *Broker) serve(listener *brokerListener, persist *persistHook) error {
	for _, hook := range []mochi.Hook{&brokerHook{broker: b, persist: persist}, persist} {
		if err := b.server.AddHook(hook, nil); err != nil {
			return err
		}
	}
	if err := b.server.AddListener(listener); err != nil {
		return err
	}
	return b.server.Serve()
}

// Close implements [transports.Transport]: it disconnects every client.
func (b *Broker) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listener == nil {
		return nil
	}
	b.persist.close()
	err := errors.Join(b.server.Close(), b.store.close())
	b.listener = nil
	if err != nil {
		return fmt.Errorf("built-in broker: %w", err)
	}
	return nil
}

// Report implements [transports.Transport]. The broker is stalled while its disk takes nothing. Dropped says what it did not
// pass on since New: "slow_client", at QoS 0 to clients that do not read; "session_full", at QoS 1 and 2 beyond 60,000 messages or
// session_bytes for one session; "not_authorized", from users without the right to publish it.
func (b *Broker) Report() transports.Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listener == nil {
		return transports.Report{State: transports.Down, Dropped: b.notes.counts()}
	}
	r := transports.Report{State: transports.Up, Since: b.started, Dropped: b.notes.counts()}
	if fault := b.store.fault.Load(); fault != nil {
		r.State, r.Since = transports.Stalled, fault.since
		r.Detail = fmt.Sprintf("the built-in broker takes nothing at QoS 1 and 2: %v; make room on that disk, and it goes on by itself", fault.err)
	}
	return r
}

// Addr returns the address that is listened on, with the real port, or "" before Start.
func (b *Broker) Addr() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listener == nil {
		return ""
	}
	return b.listener.Address()
}

// URL returns what the [Config] of the process's own session takes: it may always connect, and do everything. It is a
// secret, new with every process.
func (b *Broker) URL() string {
	return (&url.URL{Scheme: "mqtt", User: url.UserPassword(b.own.Name, b.own.Password), Host: b.Addr()}).String()
}

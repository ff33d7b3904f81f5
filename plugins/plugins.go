// Package plugins is the list of what is built into this weft. It holds adapters only: each gives a transport or the broker
// side what a configuration file says, and what the node knows besides.
package plugins

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
	"github.com/weft-relay/weft/transports/nats"
	"github.com/weft-relay/weft/transports/twister"
)

// builtIn is every type of transport that a configuration file may name: one line each.
var builtIn = []plugin{
	define("nats", needsKey, newNATS),
	define("kademlia", needsKey, newKademlia),
	define("twister", !needsKey, newTwister),
}

// Whether a peer must have a key to be reached over a type of transport.
const needsKey = true

// plugin is a type of transport with its constructor, which does no I/O beyond reading the key files it is told of.
type plugin struct {
	configs.TransportType
	build func(config any, n node, log *slog.Logger) (transports.Transport, error)
}

// node is what a transport needs to know of the node that it serves.
type node struct {
	name      string
	dataDir   string
	key       func() (ed25519.PrivateKey, error) // its identity, made where there is none
	peers     []peer                             // that are reached over the transport
	transport string                             // the name of this transport in the configuration
}

// peer is another node as a transport knows it.
type peer struct {
	name string            // on the transport
	key  ed25519.PublicKey // nil where the transport needs none
}

// names returns the peers' names on the transport.
func (n node) names() (all []string) {
	for _, p := range n.peers {
		all = append(all, p.name)
	}
	return all
}

func define[C any](name string, needsKey bool, build func(*C, node, *slog.Logger) (transports.Transport, error)) plugin {
	return plugin{
		configs.TransportType{Name: name, Default: name == "kademlia", NeedsKey: needsKey, Config: func() any { return new(C) }},
		func(config any, n node, log *slog.Logger) (transports.Transport, error) {
			return build(config.(*C), n, log)
		},
	}
}

// Types is what a configuration file may use.
func Types() configs.Types {
	types := configs.Types{Broker: func() any { return new(Broker) }}
	for _, p := range builtIn {
		types.Transports = append(types.Transports, p.TransportType)
	}
	return types
}

// Load reads a configuration file. The error is configs.Problems.
func Load(path string) (*configs.File, error) { return configs.Load(path, Types()) }

// LoadPart is [Load] for whoever uses no more than the values of these keys of the top level: what is wrong with others is no
// error. The error is configs.Problems.
func LoadPart(path string, keys ...string) (*configs.File, error) {
	return configs.LoadPart(path, Types(), keys...)
}

// Transports builds the file's transports, by name. It connects to nothing. The error names every one that cannot be built.
func Transports(file *configs.File, log *slog.Logger) (map[string]transports.Transport, error) {
	built := make(map[string]transports.Transport, len(file.Transports))
	var errs []error
	for _, t := range file.Transports {
		var err error
		if built[t.Name], err = build(file, t, log); err != nil {
			errs = append(errs, file.Problem("transports."+t.Name, err))
		}
	}
	return built, errors.Join(errs...)
}

func build(file *configs.File, t configs.Transport, log *slog.Logger) (transports.Transport, error) {
	for _, p := range builtIn {
		if p.Name == t.Type {
			return p.build(t.Config, newNode(file, t, p.NeedsKey), log.With("transport", t.Name))
		}
	}
	return nil, fmt.Errorf("unknown type %q", t.Type)
}

func newNode(file *configs.File, t configs.Transport, needsKey bool) node {
	n := node{name: file.Node.Node, dataDir: file.Node.DataDir, key: file.Identity, transport: t.Name}
	for _, p := range file.Node.Peers {
		if p.ReachedOver(t.Name, !needsKey) {
			n.peers = append(n.peers, peer{p.On(t.Name), p.Key})
		}
	}
	return n
}

// Check builds all that the file asks for, and connects to nothing. The error names everything that cannot be built, addresses that
// are listened on and Twister users that are posted as twice, and what a Twister profile has no room for.
func Check(file *configs.File) error {
	log := slog.New(slog.DiscardHandler)
	_, brokerErr := NewBroker(file, nil, log)
	_, transportsErr := Transports(file, log)
	return errors.Join(brokerErr, transportsErr, sameAddress(file), sameUser(file), tightProfile(file))
}

// Warnings returns what the file may say, and hardly means: a node runs with it.
func Warnings(file *configs.File) configs.Problems {
	found := file.Warnings()
	warn := func(key, format string, args ...any) {
		problem, _ := errors.AsType[configs.Problem](file.Problem(key, fmt.Errorf(format, args...)))
		found = append(found, problem)
	}
	if b := file.Broker.(*Broker).Embedded; b != nil && len(b.Users) == 0 && configs.Exposed(b.Listen) {
		warn("broker.embedded.listen", "%s is reached from other machines, and without users everybody may read and publish everything; give users, or listen on 127.0.0.1", b.Listen)
	}
	for _, t := range file.Transports {
		if c, ok := t.Config.(*twister.Config); ok && c.AtMostOnce() {
			key := "receipts"
			if c.Format == "seed" {
				key = "format"
			}
			warn("transports."+t.Name+"."+key, "delivery is at most once: a message counts as delivered once the own daemon has taken it, and a crash of that can lose it; use format: weft with receipts: on where the peers run weft")
		}
		if c, ok := t.Config.(*kademlia.Config); ok {
			for _, doubt := range c.Doubts() {
				warn("transports."+t.Name, "%w", doubt)
			}
		}
		if c, ok := t.Config.(*nats.Config); ok && configs.Exposed(c.Embedded.Listen) && c.User == "" && c.Token == "" {
			warn("transports."+t.Name+".embedded.listen", "%s is reached from other machines, and the server asks nobody who they are: whoever connects sees who sends how much to whom, and can delete what waits; give token, or user and password", c.Embedded.Listen)
		}
	}
	return found
}

// sameAddress names every address to listen on that an earlier key has given too.
func sameAddress(file *configs.File) error {
	type listener struct{ key, address string }
	var all []listener
	if b := file.Broker.(*Broker); b.Embedded != nil {
		all = append(all, listener{"broker.embedded.listen", b.Embedded.Listen})
	}
	for _, t := range file.Transports {
		switch c := t.Config.(type) {
		case *nats.Config:
			all = append(all, listener{"transports." + t.Name + ".embedded.listen", c.Embedded.Listen})
		case *kademlia.Config:
			for key, address := range c.Listeners() {
				all = append(all, listener{"transports." + t.Name + "." + key, address})
			}
		}
	}
	all = append(all, listener{"admin.listen", file.Admin.Listen})
	var errs []error
	keys := map[string]string{}
	for _, l := range all {
		switch first, twice := keys[l.address]; {
		case l.address == "" || strings.HasSuffix(l.address, ":0"):
		case twice:
			errs = append(errs, file.Problem(l.key, fmt.Errorf("%q is the address of %s too; give each its own port", l.address, first)))
		default:
			keys[l.address] = l.key
		}
	}
	return errors.Join(errs...)
}

// sameUser names every Twister user whom an earlier transport has too: both would number his posts, and lose each other's. It names
// peers who are called as the node's own user, too.
func sameUser(file *configs.File) error {
	var errs []error
	keys := map[string]string{}
	for _, t := range file.Transports {
		c, ok := t.Config.(*twister.Config)
		if !ok {
			continue
		}
		for i, p := range file.Node.Peers {
			if p.ReachedOver(t.Name, true) && p.On(t.Name) == c.User {
				errs = append(errs, file.Problem(fmt.Sprintf("peers[%d]", i), fmt.Errorf("%q is this node's own user on transport %q; write in at what the peer is called there", c.User, t.Name)))
			}
		}
		key := "transports." + t.Name + ".user"
		if first, twice := keys[c.User]; twice {
			errs = append(errs, file.Problem(key, fmt.Errorf("%q is the user of %s too, and two transports of one user lose each other's posts; use one, or another user", c.User, first)))
			continue
		}
		keys[c.User] = key
	}
	return errors.Join(errs...)
}

// tightProfile names every Twister transport whose user's profile has no room for what the node wants.
func tightProfile(file *configs.File) error {
	var errs []error
	for _, t := range file.Transports {
		if c, ok := t.Config.(*twister.Config); ok {
			if err := c.CheckWishes(file.Node.Shown(t.Name)); err != nil {
				errs = append(errs, file.Problem("subscribe", fmt.Errorf("transport %s: %w", t.Name, err)))
			}
		}
	}
	return errors.Join(errs...)
}

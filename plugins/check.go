package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/transports/kademlia"
	"github.com/weft-relay/weft/transports/nats"
	"github.com/weft-relay/weft/transports/twister"
)

// Check builds all that the file asks for, and connects to nothing; its programs are started once, to be asked. The error names everything
// that cannot be built, addresses that are listened on and Twister users that are posted as twice, and what a Twister profile has no room for.
func (s *Set) Check(ctx context.Context, file *configs.File) error {
	log := slog.New(slog.DiscardHandler)
	_, brokerErr := NewBroker(file, nil, log)
	programs, programsErr := NewPrograms(file, log)
	_, transportsErr := s.Transports(file, programs, log)
	_, stagesErr := s.Stages(file, programs, log)
	return errors.Join(brokerErr, programsErr, transportsErr, stagesErr,
		checkPrograms(ctx, file, programs), sameAddress(file), sameUser(file), tightProfile(file))
}

// Warnings returns what the file may say, and hardly means: a node runs with it.
func (s *Set) Warnings(file *configs.File) configs.Problems {
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

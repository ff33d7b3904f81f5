// Package plugins is the list of what is built into this weft, and what a build of one's own adds to it. It holds adapters only: each
// gives a transport, a stage or the broker side what a configuration file says, and what the node knows besides.
package plugins

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/stages/expr"
	"github.com/weft-relay/weft/plugins/stages/onchange"
	"github.com/weft-relay/weft/plugins/stages/rename"
	"github.com/weft-relay/weft/plugins/stages/sample"
	"github.com/weft-relay/weft/transports"
)

// builtIn is every type of transport and of stage that any weft has: one line each.
func builtIn() []Plugin {
	return []Plugin{
		define("nats", needsKey, newNATS),
		define("kademlia", needsKey, newKademlia),
		define("twister", !needsKey, newTwister),
		Stage("expr", expr.New),
		Stage("on_change", onchange.New),
		Stage("rename", rename.New),
		Stage("sample", sample.New),
	}
}

// Whether a peer must have a key to be reached over a type of transport.
const needsKey = true

// defaultTransport is the type of the transport of a file that names none.
const defaultTransport = "kademlia"

// Set is what one build of weft can be configured to use.
type Set struct{ plugins []Plugin }

// New returns the set of what is built in and of these. The error names everything of them that no configuration file could use.
func New(own ...Plugin) (*Set, error) {
	s := &Set{plugins: builtIn()}
	var errs []error
	for _, p := range own {
		if _, taken := s.find(p.kind(), p.name); taken {
			errs = append(errs, fmt.Errorf("%s %q is there already; give this one another name", p.kind(), p.name))
			continue
		}
		errs = append(errs, p.check())
		s.plugins = append(s.plugins, p)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Set) find(kind, name string) (Plugin, bool) {
	i := slices.IndexFunc(s.plugins, func(p Plugin) bool { return p.kind() == kind && p.name == name })
	if i < 0 {
		return Plugin{}, false
	}
	return s.plugins[i], true
}

// Types is what a configuration file may use.
func (s *Set) Types() configs.Types {
	types := configs.Types{Broker: func() any { return new(Broker) }}
	for _, p := range s.plugins {
		if p.stage != nil {
			types.Stages = append(types.Stages, configs.StageType{Name: p.name, Config: p.config})
			continue
		}
		types.Transports = append(types.Transports, configs.TransportType{
			Name: p.name, Default: p.name == defaultTransport, NeedsKey: p.needsKey, Config: p.config,
		})
	}
	return types
}

// Keys returns every key that a configuration file may have.
func (s *Set) Keys() []configs.Key { return configs.Keys(s.Types()) }

// Load reads a configuration file. The error is configs.Problems.
func (s *Set) Load(path string) (*configs.File, error) { return configs.Load(path, s.Types()) }

// LoadPart is [Set.Load] for whoever uses no more than the values of these keys of the top level: what is wrong with others is no
// error. The error is configs.Problems.
func (s *Set) LoadPart(path string, keys ...string) (*configs.File, error) {
	return configs.LoadPart(path, s.Types(), keys...)
}

// Transports builds the file's transports, by name. It connects to nothing. The error names every one that cannot be built.
func (s *Set) Transports(file *configs.File, log *slog.Logger) (map[string]transports.Transport, error) {
	built := make(map[string]transports.Transport, len(file.Transports))
	var errs []error
	for _, t := range file.Transports {
		p, known := s.find("transport", t.Type)
		err := fmt.Errorf("unknown type %q", t.Type)
		if known {
			built[t.Name], err = p.transport(t.Config, newNode(file, t, p.needsKey), log.With("transport", t.Name))
		}
		if err != nil {
			errs = append(errs, file.Problem("transports."+t.Name, err))
		}
	}
	return built, errors.Join(errs...)
}

func newNode(file *configs.File, t configs.Transport, needsKey bool) node {
	n := node{Name: file.Node.Node, DataDir: file.Node.DataDir, Key: file.Identity, Transport: t.Name}
	for _, p := range file.Node.Peers {
		if p.ReachedOver(t.Name, !needsKey) {
			n.Peers = append(n.Peers, transports.Peer{Name: p.On(t.Name), Key: p.Key})
		}
	}
	return n
}

// Stages returns the file's stages. It builds each once, and the error names every one that cannot be built.
func (s *Set) Stages(file *configs.File, log *slog.Logger) (stage.Steps, error) {
	steps := stage.Steps{Routes: map[string][]stage.Step{}}
	var errs []error
	for i, r := range file.Node.Routes {
		all, err := s.steps(file, fmt.Sprintf("routes[%d]", i), file.RouteStages[r.Name], log.With("route", r.Name))
		errs = append(errs, err)
		if len(all) > 0 {
			steps.Routes[r.Name] = all
		}
	}
	for i, list := range file.SubscriptionStages {
		all, err := s.steps(file, fmt.Sprintf("subscribe[%d]", i), list, log.With("subscription", file.Node.Subscribe[i].Filter))
		errs = append(errs, err)
		steps.Subscribe = append(steps.Subscribe, all)
	}
	return steps, errors.Join(errs...)
}

// steps returns the stages of one list, which is under the key at.
func (s *Set) steps(file *configs.File, at string, list []configs.Stage, log *slog.Logger) (all []stage.Step, err error) {
	var errs []error
	for i, c := range list {
		p, known := s.find("stage", c.Type)
		key := fmt.Sprintf("%s.stages[%d]", at, i)
		if !known {
			errs = append(errs, file.Problem(key, fmt.Errorf("unknown type %q", c.Type)))
			continue
		}
		log := log.With("stage", c.Type)
		step := stage.Step{Name: c.Type, New: func() (stage.Stage, error) {
			built, err := p.stage(c.Config, log)
			if err != nil {
				return nil, file.Problem(key, err)
			}
			return built, nil
		}}
		if _, err := step.New(); err != nil {
			errs = append(errs, err)
		}
		all = append(all, step)
	}
	return all, errors.Join(errs...)
}

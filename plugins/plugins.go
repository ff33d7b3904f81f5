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
	"github.com/weft-relay/weft/plugins/remote"
	"github.com/weft-relay/weft/plugins/stages/expr"
	"github.com/weft-relay/weft/plugins/stages/jsonpick"
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
		Stage("json", jsonpick.New),
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
	types := configs.Types{Broker: func() any { return new(Broker) }, Plugins: func() any { return new([]remote.Config) }}
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
func (s *Set) Transports(file *configs.File, programs Programs, log *slog.Logger) (map[string]transports.Transport, error) {
	built := make(map[string]transports.Transport, len(file.Transports))
	var errs []error
	for _, t := range file.Transports {
		if o, ok := t.Config.(*configs.Options); ok {
			if program := programs[o.Plugin]; program != nil {
				built[t.Name] = program.Transport(o.Type, o.JSON, apart(newNode(file, t, needsKey)))
			}
			continue
		}
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

// Stages returns the file's stages, those of programs among them. It builds each of the others once, and the error names every one that
// cannot be built.
func (s *Set) Stages(file *configs.File, programs Programs, log *slog.Logger) (stage.Steps, error) {
	steps := stage.Steps{Routes: map[string][]stage.Step{}, Subscribe: make([][]stage.Step, len(file.SubscriptionStages))}
	var errs []error
	list := func(at, of string, all []configs.Stage) []stage.Step {
		built := make([]stage.Step, len(all))
		for i, c := range all {
			var err error
			built[i], err = s.step(file, programs, fmt.Sprintf("%s.stages[%d]", at, i), of, c, log)
			errs = append(errs, err)
		}
		return built
	}
	for i, r := range file.Node.Routes {
		if all := file.RouteStages[r.Name]; len(all) > 0 {
			steps.Routes[r.Name] = list(fmt.Sprintf("routes[%d]", i), "route "+r.Name, all)
		}
	}
	for i, all := range file.SubscriptionStages {
		steps.Subscribe[i] = list(fmt.Sprintf("subscribe[%d]", i), "subscription "+file.Node.Subscribe[i].Filter, all)
	}
	return steps, errors.Join(errs...)
}

// step returns a stage that is under the key at, of a route or a subscription.
func (s *Set) step(file *configs.File, programs Programs, at, of string, c configs.Stage, log *slog.Logger) (stage.Step, error) {
	if o, ok := c.Config.(*configs.Options); ok {
		return programs.step(o, of), nil
	}
	p, known := s.find("stage", c.Type)
	if !known {
		return stage.Step{}, file.Problem(at, fmt.Errorf("unknown type %q", c.Type))
	}
	log = log.With("of", of, "stage", c.Type)
	step := stage.Step{Name: c.Type, New: func() (stage.Stage, error) {
		built, err := p.stage(c.Config, log)
		if err != nil {
			return nil, file.Problem(at, err)
		}
		return built, nil
	}}
	_, err := step.New()
	return step, err
}

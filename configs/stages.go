package configs

import (
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline"
)

// StageType is a kind of stage, by the name that `type` gives it.
type StageType struct {
	Name   string
	Config func() any // returns a new pointer to the struct of its keys
}

// Stage is one entry of `stages`.
type Stage struct {
	Type   string
	Config any // as StageType.Config made it
}

// String names the stage without what it is told: there may be secrets in it.
func (s Stage) String() string { return s.Type }

// LogValue implements slog.LogValuer.
func (s Stage) LogValue() slog.Value { return slog.StringValue(s.Type) }

// stage is one entry of the list: its type, and beside it the keys of that type. A single word is its type.
type stage struct {
	Type   string `yaml:"type" doc:"one of the types of stages"`
	config any
}

func (s *stage) decodeNode(d *decoder, n *yaml.Node, path string) {
	known := make([]string, len(d.types.Stages))
	for i, kind := range d.types.Stages {
		known[i] = kind.Name
	}
	at := d.typed(n, &s.Type, known, path)
	if o := d.remote(s.Type, n, path); o != nil {
		s.config = o
		return
	}
	if at < 0 {
		return
	}
	v := fresh(d.types.Stages[at].Config)
	s.config = v.Addr().Interface()
	if n.Kind == yaml.ScalarNode {
		d.validate(v, path)
		return
	}
	d.structure(n, v, path, "type")
}

// typed reads which of the known types an entry has, a mapping with the key `type` or that word alone, and returns its index. It is
// negative where that is none, which is reported.
func (d *decoder) typed(n *yaml.Node, word *string, known []string, path string) int {
	at := path
	if n.Kind == yaml.ScalarNode {
		d.scalar(n, reflect.ValueOf(word).Elem(), path, "")
	} else {
		if !d.expect(n, yaml.MappingNode, path, "a mapping (key: value)") {
			return -1
		}
		at = under(path, "type")
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "type" {
				d.value(n.Content[i+1], reflect.ValueOf(word).Elem(), at, "")
			}
		}
	}
	found := slices.Index(known, *word)
	switch {
	case d.problems.in(at):
		return -1
	case *word == "":
		d.report(at, "missing; %s", suggest("", known))
	case strings.Contains(*word, "."): // of a plugin
	case found < 0:
		d.report(at, "unknown type %q; %s", *word, suggest(*word, known))
	}
	return found
}

func plainStages(all []stage) (plain []Stage) {
	for _, s := range all {
		plain = append(plain, Stage{s.Type, s.config})
	}
	return plain
}

// checkOverlaps reports routes with stages that would take a message twice to the same place. A route with stages takes what it matches
// before those without, for all peers that its transport reaches: of two of them neither knows what the other's stages make of it.
func (d *decoder) checkOverlaps(doc *document) {
	for i, r := range doc.Routes {
		for _, earlier := range doc.Routes[:i] {
			if len(r.Stages) == 0 || len(earlier.Stages) == 0 || !doc.meet(earlier, r) {
				continue
			}
			for j, filter := range r.Match {
				shared := slices.IndexFunc(earlier.Match, func(other string) bool { return matching.Overlaps(filter, other) })
				if shared >= 0 {
					d.report(fmt.Sprintf("routes[%d].match[%d]", i, j), "routes %s and %s both have stages and match %s: a message would go twice; narrow one",
						earlier.Name, r.Name, bothMatch(earlier.Match[shared], filter))
					break
				}
			}
		}
	}
}

// bothMatch says what two overlapping filters have in common.
func bothMatch(a, b string) string {
	switch {
	case matching.Covers(a, b):
		return b
	case matching.Covers(b, a):
		return a
	}
	return fmt.Sprintf("what is in both %s and %s", a, b)
}

// meet reports whether what two routes carry can come to the same node.
func (doc *document) meet(a, b route) bool {
	if a.Mode != b.Mode {
		return false
	}
	if a.Mode == string(pipeline.Broadcast) {
		return a.To == b.To
	}
	return slices.ContainsFunc(doc.Peers, func(p peer) bool {
		return p.plain().ReachedOver(a.To, doc.Transports[a.To].proves) && p.plain().ReachedOver(b.To, doc.Transports[b.To].proves)
	})
}

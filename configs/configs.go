// Package configs reads weft.yaml. It knows the notation, the keys that every node has, and how they must fit together; what
// a broker or a transport may be told comes from outside as Go structs (see [Types]).
//
// Everything that is wrong is reported at once, each with its file, line, key and what would be right (see [Problems]).
// Keys are matched exactly. In every value ${NAME} and ${NAME:default} stand for an environment variable; "$${" is a literal
// "${". Durations have a unit (500ms, 2s, 72h, 3d), sizes are bytes or have one (16KiB, 1MB). A secret may be "file:PATH",
// the first line of that file. Relative paths, data_dir among them, are taken from the folder of the configuration file, so
// that a node does not depend on where it is started.
package configs

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/identity"
)

// DefaultTransport is the name of the transport that a file has which lists peers and names none.
const DefaultTransport = "mesh"

// Types is what this build of Weft can be configured to use.
type Types struct {
	// Broker returns a new pointer to the struct of the `broker` section.
	Broker     func() any
	Transports []TransportType
	// Plugins returns a new pointer to the list of the `plugins` section, whose items have a method PluginName() string; nil for none.
	Plugins func() any
	Stages  []StageType
}

// TransportType is a kind of transport, by the name that `type` gives it.
type TransportType struct {
	Name     string
	Default  bool       // is the [DefaultTransport]
	NeedsKey bool       // whether a peer must have a key to be reached over it: false if the network proves names itself
	Config   func() any // returns a new pointer to the struct of its keys
}

// File is what a configuration file says, with every default set and everything validated.
type File struct {
	Node       pipeline.Config
	Broker     any         // as Types.Broker made it
	Plugins    any         // as Types.Plugins made it
	Transports []Transport // by name
	Admin      Admin

	RouteStages        map[string][]Stage // of the routes that have any, by name
	SubscriptionStages [][]Stage          // by the index in Node.Subscribe

	source source
}

// Identity returns the node's private key, and makes one where there is none.
func (f *File) Identity() (ed25519.PrivateKey, error) {
	id, err := identity.Load(f.Node.DataDir)
	if err != nil {
		return nil, err
	}
	return id.Private(), nil
}

// Dir returns the folder of the file, where relative paths in it begin.
func (f *File) Dir() string { return filepath.Dir(f.source.file) }

// Problem returns what is wrong with the file at a key, such as "transports.hub", and showed only when it was used: [Problems]
// if errors.Join has joined several. One whose text begins with "KEY: " is a problem of that key in the key.
func (f *File) Problem(key string, err error) error {
	var found Problems
	for _, one := range Flatten(err) {
		at, text := key, one.Error()
		if first, rest, ok := strings.Cut(text, ": "); ok && f.source.lines[under(key, first)] > 0 {
			at, text = under(key, first), rest
		}
		found = append(found, f.source.problem(at, text))
	}
	if len(found) == 1 {
		return found[0]
	}
	return found
}

// Transport is one entry of `transports`.
type Transport struct {
	Name   string
	Type   string
	Config any // as TransportType.Config made it
}

// String names the file without what it holds: there may be secrets in it.
func (f *File) String() string { return "configuration of " + f.Node.Node }

// LogValue implements slog.LogValuer.
func (f *File) LogValue() slog.Value { return slog.StringValue(f.String()) }

// String names the transport without what it is told: there may be secrets in it.
func (t Transport) String() string { return fmt.Sprintf("%s (%s)", t.Name, t.Type) }

// LogValue implements slog.LogValuer.
func (t Transport) LogValue() slog.Value { return slog.StringValue(t.String()) }

// Load reads the file. The error is [Problems].
func Load(path string, types Types) (*File, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text, types)
}

// Parse is [Load] for the text of a file, which its problems call name and whose folder relative paths begin at.
func Parse(name string, text []byte, types Types) (*File, error) {
	d, doc := decode(name, text, types)
	d.addDefault(doc)
	d.checkNames(doc)
	file := doc.file()
	if err := file.Node.CheckProfile(); err != nil {
		d.report("subscribe", "%s; subscribe to fewer, wider filters, or say by from which peers each is asked of", err)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	file.source = d.source
	return file, nil
}

// LoadPart is [Load] for whoever uses no more than the values of these keys of the top level: what is wrong with others is no
// error. The error is [Problems].
func LoadPart(path string, types Types, keys ...string) (*File, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	d, doc := decode(path, text, types)
	d.problems = slices.DeleteFunc(d.problems, func(p Problem) bool {
		used := func(key string) bool { return Problems{p}.in(key) }
		return p.Key != "" && !slices.ContainsFunc(keys, used)
	})
	if err := d.err(); err != nil {
		return nil, err
	}
	file := doc.file()
	file.source = d.source
	return file, nil
}

// CheckNode says what is wrong with a node's name.
func CheckNode(name string) error { return checkName("node", name) }

func read(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Problems{{File: path, Text: "no such file; make one with `weft init`, or name another one"}}
	}
	if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
		return nil, Problems{{File: path, Text: "is a folder; name the file in it, such as " + filepath.Join(path, "weft.yaml")}}
	}
	if err != nil {
		return nil, Problems{{File: path, Text: err.Error()}}
	}
	return text, nil
}

func decode(name string, text []byte, types Types) (*decoder, *document) {
	d := &decoder{source: source{file: name, lines: map[string]int{"": 1}}, dir: filepath.Dir(name), types: types}
	doc := newDocument(types)
	if root := d.parse(text); root != nil && !isNull(root) {
		d.value(root, reflect.ValueOf(doc).Elem(), "", "")
	} else if len(d.problems) == 0 {
		d.judge(doc.Validate(), "", []string{"node"})
	}
	if doc.DataDir == "" {
		doc.DataDir = resolve(d.dir, doc.Node)
	}
	return d, doc
}

// file returns the document in plain values.
func (doc *document) file() *File {
	f := &File{
		Node:   pipeline.Config{Node: doc.Node, DataDir: doc.DataDir},
		Broker: doc.Broker, Plugins: doc.Plugins,
		Admin: doc.Admin,

		RouteStages: map[string][]Stage{},
	}
	for _, s := range doc.Subscribe {
		f.Node.Subscribe = append(f.Node.Subscribe, s.plain())
		f.SubscriptionStages = append(f.SubscriptionStages, plainStages(s.Stages))
	}
	for _, p := range doc.Peers {
		f.Node.Peers = append(f.Node.Peers, p.plain())
	}
	for _, r := range doc.Routes {
		f.Node.Routes = append(f.Node.Routes, r.plain())
		if len(r.Stages) > 0 {
			f.RouteStages[r.Name] = plainStages(r.Stages)
		}
	}
	for name, t := range doc.Transports {
		f.Transports = append(f.Transports, Transport{Name: name, Type: t.Type, Config: t.config})
	}
	slices.SortFunc(f.Transports, func(a, b Transport) int { return strings.Compare(a.Name, b.Name) })
	return f
}

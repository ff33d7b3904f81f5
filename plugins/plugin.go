package plugins

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"regexp"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/transports"
)

// Plugin is a type of transport or of stage that a configuration file may name: one of [Transport] and [Stage] makes it of a package.
type Plugin struct {
	name   string
	home   string // path of the package that it comes from
	config func() any

	needsKey  bool                                                                     // of a transport: whether a peer must have a key
	transport func(config any, n node, log *slog.Logger) (transports.Transport, error) // nil for a stage
	stage     func(config any, log *slog.Logger) (stage.Stage, error)                  // nil for a transport
}

// node is what a transport may know of the node that it serves. Its DataDir is that of the node.
type node = transports.Node

// Transport makes a type of transport of a package's constructor, which does no I/O. C is the struct of its keys, with yaml tags; if it has
// a method SetNode(transports.Node) that is called before the constructor. Peers need no key if T is a [transports.OpenDirectory].
func Transport[C any, T transports.Transport](name string, build func(C, *slog.Logger) (T, error)) Plugin {
	_, open := reflect.TypeAssert[transports.OpenDirectory](reflect.Zero(reflect.TypeFor[T]()))
	return define(name, !open, func(c *C, n node, log *slog.Logger) (T, error) {
		config := *c
		if aware, ok := any(&config).(interface{ SetNode(transports.Node) }); ok {
			aware.SetNode(apart(n))
		}
		return build(config, log)
	})
}

// apart gives a transport that is not built in a folder apart from the node's own.
func apart(n node) node {
	n.DataDir = filepath.Join(n.DataDir, "transport-"+n.Transport)
	return n
}

// Stage makes a type of stage of a package's constructor, which does no I/O, and which may be called any number of times with the same
// keys. C is the struct of the keys, with yaml tags.
func Stage[C any, T stage.Stage](name string, build func(C, *slog.Logger) (T, error)) Plugin {
	return Plugin{
		name: name, home: reflect.TypeFor[C]().PkgPath(), config: func() any { return new(C) },
		stage: func(config any, log *slog.Logger) (stage.Stage, error) {
			s, err := build(*config.(*C), log)
			if err != nil {
				return nil, err // not s, which may be an interface that is not nil
			}
			return s, nil
		},
	}
}

// define is [Transport] for what is built in: it is told of the node itself.
func define[C any, T transports.Transport](name string, needsKey bool, build func(*C, node, *slog.Logger) (T, error)) Plugin {
	return Plugin{
		name: name, home: reflect.TypeFor[C]().PkgPath(), config: func() any { return new(C) }, needsKey: needsKey,
		transport: func(config any, n node, log *slog.Logger) (transports.Transport, error) {
			t, err := build(config.(*C), n, log)
			if err != nil {
				return nil, err // not t, which may be an interface that is not nil
			}
			return t, nil
		},
	}
}

// kind says in a word what it is.
func (p Plugin) kind() string {
	if p.stage != nil {
		return "stage"
	}
	return "transport"
}

var typeForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// check says why no configuration file could use it.
func (p Plugin) check() error {
	if !typeForm.MatchString(p.name) {
		return fmt.Errorf("%s %q: no name of a type; write 1 to 32 of a-z 0-9 _, the first a letter", p.kind(), p.name)
	}
	if err := configs.CheckType(p.config()); err != nil {
		return fmt.Errorf("%s %s: %w", p.kind(), p.name, err)
	}
	return nil
}

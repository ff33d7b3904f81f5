// Package serve makes a program of stages and transports: a plugin that a node starts. The same constructors serve that are compiled into
// a node:
//
//	func main() {
//		serve.Main(serve.Stage("decode", decode.New), serve.Transport("modem", modem.New))
//	}
//
// Options are decoded into the constructor's Config as if they stood in weft.yaml, with its SetDefaults and Validate. What the program
// prints and logs is in the log of the node.
package serve

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline/stage"
	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
	"github.com/weft-relay/weft/plugins/remote"
	"github.com/weft-relay/weft/transports"
)

// Type is a stage or a transport that the program has.
type Type struct {
	kind      pluginv1.Kind
	name      string
	comment   string
	directory bool
	config    func() any                                                       // returns a pointer to an empty Config
	stage     func(config any, log *slog.Logger) (stage.Stage, error)          // nil for a transport
	transport func(config any, log *slog.Logger) (transports.Transport, error) // nil for a stage
}

// Stage is a type of stage: the name that configurations have for it, and its constructor.
func Stage[C any, S stage.Stage](name string, construct func(C, *slog.Logger) (S, error)) Type {
	return Type{
		kind: pluginv1.Kind_KIND_STAGE, name: name, config: func() any { return new(C) },
		stage: func(config any, log *slog.Logger) (stage.Stage, error) { return construct(*config.(*C), log) },
	}
}

// Comment says what the type does, in a sentence.
func (t Type) Comment(text string) Type {
	t.comment = text
	return t
}

// decode returns the options as the constructor takes them.
func (t Type) decode(options []byte) (any, error) {
	config := t.config()
	return config, configs.DecodeOptions(options, config)
}

// Main serves the types until the node ends the program. It does not return.
func Main(types ...Type) {
	if os.Getenv(remote.Handshake.MagicCookieKey) != remote.Handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "This program is a plugin of weft, which starts it. Name it in weft.yaml:\n\n    plugins: [{name: NAME, command: [%s]}]\n", os.Args[0])
		os.Exit(1)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := newServer(types, log)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // which ends with the node
		s.close()
		os.Exit(0)
	}()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: remote.Handshake,
		Plugins:         plugin.PluginSet{remote.Service: s},
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}), // why it cannot serve
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpc.MaxRecvMsgSize(math.MaxInt32), grpc.MaxSendMsgSize(math.MaxInt32))...)
		},
	})
	s.close()
	os.Exit(0)
}

// build returns what the program is called, and its version.
func build() (name, version string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return path.Base(os.Args[0]), "unknown"
	}
	return path.Base(info.Path), info.Main.Version
}

package serve

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-relay/weft/configs"
	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
)

// server serves the types.
type server struct {
	plugin.NetRPCUnsupportedPlugin
	types []Type
	log   *slog.Logger

	mu     sync.Mutex
	last   uint64
	opened map[uint64]any // by handle: a *stageInstance or a carrier
}

func newServer(types []Type, log *slog.Logger) *server {
	return &server{types: types, log: log, opened: map[uint64]any{}}
}

// GRPCServer registers the services.
func (s *server) GRPCServer(_ *plugin.GRPCBroker, to *grpc.Server) error {
	pluginv1.RegisterPluginServiceServer(to, describer{server: s})
	pluginv1.RegisterStageServiceServer(to, stages{server: s})
	pluginv1.RegisterTransportServiceServer(to, carriers{server: s})
	return nil
}

// GRPCClient is the node's side, which is not here.
func (s *server) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

// find returns the type of that kind and name.
func (s *server) find(kind pluginv1.Kind, name string) (Type, error) {
	for _, t := range s.types {
		if t.kind == kind && t.name == name {
			return t, nil
		}
	}
	return Type{}, status.Errorf(codes.InvalidArgument, "unknown type %q", name)
}

// hold gives an instance its handle.
func (s *server) hold(instance any) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.opened[s.last] = instance
	return s.last
}

// instance returns what has the handle.
func instance[T any](s *server, handle uint64) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.opened[handle].(T)
	if !ok {
		return found, status.Errorf(codes.NotFound, "no handle %d", handle)
	}
	return found, nil
}

// drop forgets a handle, and closes what has it.
func (s *server) drop(handle uint64) error {
	s.mu.Lock()
	found := s.opened[handle]
	delete(s.opened, handle)
	s.mu.Unlock()
	if closer, ok := found.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// close ends everything that is open.
func (s *server) close() {
	s.mu.Lock()
	opened := s.opened
	s.opened = map[uint64]any{}
	s.mu.Unlock()
	for _, one := range opened {
		if closer, ok := one.(io.Closer); ok {
			if err := closer.Close(); err != nil {
				s.log.Warn("close", "error", err)
			}
		}
	}
}

// describer is the PluginService.
type describer struct {
	pluginv1.UnimplementedPluginServiceServer
	*server
}

// optionTypes are the protocol's words for the notations of package configs.
var optionTypes = map[string]pluginv1.OptionType{
	"text":          pluginv1.OptionType_OPTION_TYPE_TEXT,
	"address":       pluginv1.OptionType_OPTION_TYPE_TEXT,
	"path":          pluginv1.OptionType_OPTION_TYPE_TEXT,
	"file":          pluginv1.OptionType_OPTION_TYPE_TEXT,
	"secret":        pluginv1.OptionType_OPTION_TYPE_SECRET,
	"true or false": pluginv1.OptionType_OPTION_TYPE_BOOL,
	"number":        pluginv1.OptionType_OPTION_TYPE_NUMBER, // whole or not; the program itself says where it must be
	"duration":      pluginv1.OptionType_OPTION_TYPE_DURATION,
	"size":          pluginv1.OptionType_OPTION_TYPE_SIZE,
	"list of text":  pluginv1.OptionType_OPTION_TYPE_LIST,
}

func (d describer) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	answer := &pluginv1.DescribeResponse{}
	answer.Name, answer.Version = build()
	for _, t := range d.types {
		described := &pluginv1.Type{Kind: t.kind, Name: t.name, Comment: t.comment, Directory: t.directory}
		described.Options = options(t)
		answer.Types = append(answer.Types, described)
	}
	return answer, nil
}

// options returns the keys of a type. Lists and maps of sections are one each, of which only the program itself knows more.
func options(t Type) (all []*pluginv1.Option) {
	whole := map[string]bool{}
	for _, k := range configs.KeysOf(t.config) {
		key, _, _ := strings.Cut(k.Path, "[]")
		key, _, _ = strings.Cut(key, ".NAME")
		switch {
		case key == k.Path:
			all = append(all, &pluginv1.Option{Key: key, Type: optionTypes[k.Type], Default: k.Default, Comment: k.Doc, Values: k.Values})
		case !whole[key]:
			whole[key] = true
			all = append(all, &pluginv1.Option{Key: key})
		}
	}
	return all
}

func (d describer) Check(_ context.Context, request *pluginv1.CheckRequest) (*pluginv1.CheckResponse, error) {
	t, err := d.find(request.Kind, request.Type)
	if err != nil {
		return nil, err
	}
	config, err := t.decode(request.Options)
	if err == nil && t.stage != nil {
		_, err = t.stage(config, slog.New(slog.DiscardHandler)) // which does no I/O
	}
	answer := &pluginv1.CheckResponse{}
	for _, one := range configs.Flatten(err) {
		answer.Problems = append(answer.Problems, problem(one))
	}
	return answer, nil
}

// problem takes an error apart that begins with the key that it is about.
func problem(err error) *pluginv1.Problem {
	key, text, found := strings.Cut(err.Error(), ": ")
	if !found || strings.Contains(key, " ") {
		return &pluginv1.Problem{Text: err.Error()}
	}
	return &pluginv1.Problem{Key: key, Text: text}
}

// logger returns the log of an instance.
func (s *server) logger(typ, instance string) *slog.Logger {
	return s.log.With("type", typ, "instance", cmp.Or(instance, "unnamed"))
}

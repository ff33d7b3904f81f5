package cli_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/weft-relay/weft/pipeline/stage"
	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
	"github.com/weft-relay/weft/plugins/remote"
	"github.com/weft-relay/weft/plugins/serve"
)

// The test program is the plugins of its tests too.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "as" {
		roles[os.Args[2]]()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// roles are what the test program can be, by its second argument.
var roles = map[string]func(){
	"plugin": servePlugin,
	"odd": func() {
		serve.Main(
			oddStage("reorders", func(_ int, in []stage.Message) []stage.Message { slices.Reverse(in); return in }),
			oddStage("hangs", func(int, []stage.Message) []stage.Message { select {} }),
			oddStage("exits", func(int, []stage.Message) []stage.Message { os.Exit(7); return nil }),
			oddStage("counts", func(calls int, in []stage.Message) []stage.Message {
				for i := range in {
					in[i].Payload = fmt.Append(nil, calls) // of all stages
				}
				return in
			}),
			serve.Stage("needs", func(needsConfig, *slog.Logger) (scale, error) { return scale{}, nil }),
		)
	},
	"agrees": func() {
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig: remote.Handshake, Plugins: plugin.PluginSet{remote.Service: agreeing{}},
			GRPCServer: plugin.DefaultGRPCServer, Logger: hclog.NewNullLogger(),
		})
	},
	"exits":  func() { fmt.Fprintln(os.Stderr, "panic: no modem"); os.Exit(3) },
	"mute":   func() { select {} },
	"greets": func() { fmt.Println("hello"); select {} },
	"deaf": func() { // shakes hands, and never answers
		fmt.Println("1|1|unix|" + os.Getenv("PLUGIN_UNIX_SOCKET_DIR") + "/nobody|grpc")
		select {}
	},
	"stubborn": func() { // ends for nothing but SIGKILL
		signal.Ignore(syscall.SIGTERM)
		server := exec.Command(os.Args[0], "as", "plugin")
		server.Stdout, server.Stderr = os.Stdout, os.Stderr
		if _, err := server.StdinPipe(); err != nil || server.Start() != nil {
			os.Exit(1)
		}
		select {}
	},
	"leaves": func() { // a process that leaves the group, and whose number it notes
		child := exec.Command("sleep", "600")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			os.Exit(1)
		}
		file, err := os.OpenFile(os.Args[3], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			os.Exit(1)
		}
		fmt.Fprintln(file, child.Process.Pid)
		servePlugin()
	},
}

func servePlugin() {
	serve.Main(serve.Stage("scale", newScale).Comment("multiplies readings"), serve.Stage("scale2", newScale))
}

// oddStage is a stage that does this with its messages, which may be changed; all stages of the program share the number of calls.
func oddStage(name string, do func(calls int, in []stage.Message) []stage.Message) serve.Type {
	calls := 0
	return serve.Stage(name, func(struct{}, *slog.Logger) (odd, error) {
		return func(in []stage.Message) []stage.Message { calls++; return do(calls, slices.Clone(in)) }, nil
	})
}

type odd func(in []stage.Message) []stage.Message

func (o odd) Process(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	return stage.Output{Messages: o(in)}, nil
}

type needsConfig struct {
	Port string `yaml:"port"`
}

func (c *needsConfig) Validate() error {
	if c.Port == "" {
		return errors.New("port: missing; name the port")
	}
	return nil
}

// agreeing is a plugin that says yes to everything.
type agreeing struct {
	plugin.NetRPCUnsupportedPlugin
	pluginv1.UnimplementedPluginServiceServer
	pluginv1.UnimplementedStageServiceServer
}

func (a agreeing) GRPCServer(_ *plugin.GRPCBroker, to *grpc.Server) error {
	pluginv1.RegisterPluginServiceServer(to, a)
	pluginv1.RegisterStageServiceServer(to, a)
	return nil
}

func (agreeing) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

func (agreeing) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	options := []*pluginv1.Option{{Key: "by", Type: pluginv1.OptionType_OPTION_TYPE_INTEGER}}
	return &pluginv1.DescribeResponse{Name: "agreeing", Types: []*pluginv1.Type{
		{Kind: pluginv1.Kind_KIND_STAGE, Name: "yes", Options: options},
	}}, nil
}

func (agreeing) Open(context.Context, *pluginv1.StageServiceOpenRequest) (*pluginv1.StageServiceOpenResponse, error) {
	return &pluginv1.StageServiceOpenResponse{Handle: 1}, nil
}

func (agreeing) Process(context.Context, *pluginv1.ProcessRequest) (*pluginv1.ProcessResponse, error) {
	return &pluginv1.ProcessResponse{}, nil
}

func (agreeing) Close(context.Context, *pluginv1.StageServiceCloseRequest) (*pluginv1.StageServiceCloseResponse, error) {
	return &pluginv1.StageServiceCloseResponse{}, nil
}

// as is the command of a role, as a file has it.
func as(role string) string { return fmt.Sprintf("[%q, as, %s]", os.Args[0], role) }

type scaleConfig struct {
	By    int           `yaml:"by" doc:"factor"`
	Every time.Duration `yaml:"every" doc:"how often"`
}

func (c *scaleConfig) SetDefaults() { c.By, c.Every = 1, time.Minute }

func (c *scaleConfig) Validate() error {
	if c.By == 0 {
		return errors.New("by: 0 is no factor; write 1 or more")
	}
	return nil
}

type scale struct{}

func newScale(scaleConfig, *slog.Logger) (scale, error) { return scale{}, nil }

func (scale) Process(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	return stage.Output{Messages: in}, nil
}

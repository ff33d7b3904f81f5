package cli

import (
	"context"
	"log/slog"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxevent"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/admin"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins"
)

// startTimeout bounds the start of a node, which waits for no connection but may read a long journal.
const startTimeout = 10 * time.Minute

// newApp wires the node that a configuration file describes. Further options may take parts out of it.
func newApp(set *plugins.Set, file *configs.File, reloads *reloads, log *slog.Logger, more ...fx.Option) *fx.App {
	return fx.New(
		fx.Supply(file, file.Node, reloads, log),
		fx.Provide(
			func(store *lanes.Store) (pipeline.Broker, error) { return plugins.NewBroker(file, store, log) },
			func(lc fx.Lifecycle) (plugins.Programs, error) { return runPrograms(lc, file, log) },
			func(programs plugins.Programs) (pipeline.Transports, error) {
				return set.Transports(file, programs, log)
			},
			func(programs plugins.Programs) (stage.Steps, error) { return set.Stages(file, programs, log) },
		),
		pipeline.Module(),
		fx.Invoke(serveAdmin),
		fx.Options(more...),
		fx.StartTimeout(startTimeout),
		fx.StopTimeout(pipeline.StopTimeout),
		fx.WithLogger(func() fxevent.Logger { return fxevent.NopLogger }), // errors come out of Start and Stop
	)
}

// runPrograms ties the file's plugins to the application: they run before the node and after it.
func runPrograms(lc fx.Lifecycle, file *configs.File, log *slog.Logger) (plugins.Programs, error) {
	programs, err := plugins.NewPrograms(file, log)
	if err == nil {
		lc.Append(fx.Hook{OnStart: programs.Start, OnStop: func(context.Context) error { return programs.Close() }})
	}
	return programs, err
}

// serveAdmin ties the admin service to the application, if the file asks for it.
func serveAdmin(lc fx.Lifecycle, file *configs.File, reloads *reloads, programs plugins.Programs, node *pipeline.Node, log *slog.Logger) {
	if file.Admin.Listen == "" {
		return
	}
	server := admin.New(file.Admin.Listen, reported{node, reloads, programs}, log)
	lc.Append(fx.Hook{
		OnStart: server.Start,
		OnStop:  func(context.Context) error { return server.Close() },
	})
}

// reported is a node whose status says too whether its changed file was taken up, and how its plugins are.
type reported struct {
	*pipeline.Node
	reloads  *reloads
	programs plugins.Programs
}

func (r reported) Status() pipeline.Status {
	s := r.Node.Status()
	s.FileProblem = r.reloads.problem()
	var all []pipeline.PluginStatus
	for _, p := range r.programs.Status() {
		all = append(all, pipeline.PluginStatus{
			Name: p.Name, State: string(p.State), Program: p.Program, Version: p.Version, PID: p.PID, Since: p.Since, Restarts: p.Restarts,
			Error: p.Error, Memory: p.Memory, MemoryLimit: p.MemoryLimit, LinesSkipped: p.LinesSkipped,
		})
	}
	s.AddPlugins(all)
	return s
}

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
			func() (pipeline.Transports, error) { return set.Transports(file, log) },
			func() (stage.Steps, error) { return set.Stages(file, log) },
		),
		pipeline.Module(),
		fx.Invoke(serveAdmin),
		fx.Options(more...),
		fx.StartTimeout(startTimeout),
		fx.StopTimeout(pipeline.StopTimeout),
		fx.WithLogger(func() fxevent.Logger { return fxevent.NopLogger }), // errors come out of Start and Stop
	)
}

// serveAdmin ties the admin service to the application, if the file asks for it.
func serveAdmin(lc fx.Lifecycle, file *configs.File, reloads *reloads, node *pipeline.Node, log *slog.Logger) {
	if file.Admin.Listen == "" {
		return
	}
	server := admin.New(file.Admin.Listen, reported{node, reloads}, log)
	lc.Append(fx.Hook{
		OnStart: server.Start,
		OnStop:  func(context.Context) error { return server.Close() },
	})
}

// reported is a node whose status says too whether its changed file was taken up.
type reported struct {
	*pipeline.Node
	reloads *reloads
}

func (r reported) Status() pipeline.Status {
	s := r.Node.Status()
	s.FileProblem = r.reloads.problem()
	return s
}

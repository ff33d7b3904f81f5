package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/dig"
	"go.uber.org/fx"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/plugins"
)

func newRun(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the node",
		Long: `Run runs the node until SIGTERM or SIGINT, then drains and stops in order. It starts whatever is out of reach, and keeps
trying. On SIGHUP it reads the file again: with an error in it the node goes on as it was, else it stops in order and
starts anew with the new file; what is queued stays queued. A changed node or data_dir, which would be another identity, is
taken up by a restart alone.`,
		Example: `  weft run
  weft run -c alice.yaml --log-format json
  kill -HUP PID    take up a changed file`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := g.logger(cmd.ErrOrStderr(), slog.LevelInfo)
			if err != nil {
				return err
			}
			slog.SetDefault(log)
			file, err := g.set.Load(g.config)
			if err != nil {
				return err
			}
			if file.Broker.(*plugins.Broker).Embedded == nil {
				leaveRoom()
			}
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			return (&runner{set: g.set, path: g.config, hangup: hangup, log: log}).runNodes(cmd.Context(), file)
		},
	}
}

// leaveRoom keeps the node to half of the processors, so that the broker beside it has the rest. A node is bound by its disk and its
// connections; on two cores the exchange between its own threads cost it a third of its rate. GOMAXPROCS overrides.
func leaveRoom() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/2))
	}
}

// errNotStarted says that a node could not be started, and that nothing of it is left running.
var errNotStarted = errors.New("the node cannot start")

// runner runs the nodes of one configuration file.
type runner struct {
	set     *plugins.Set
	path    string // of the file
	hangup  <-chan os.Signal
	changes reloads
	log     *slog.Logger
}

// runNodes runs one node after the other, each with a changed file. Where a new one cannot start, the one before it goes on.
func (r *runner) runNodes(ctx context.Context, file *configs.File) error {
	var before *configs.File
	for {
		next, err := r.runNode(ctx, file)
		switch {
		case errors.Is(err, errNotStarted) && before != nil:
			r.log.Error("the new configuration cannot be started, the node goes on with the one before", "error", err)
			r.changes.note(r.path, err)
			file, before = before, nil
		case err != nil || next == nil:
			return err
		default:
			file, before = next, file
		}
	}
}

// runNode runs a node until it is told to stop or dies, or until the configuration file has changed: then it returns the new one.
func (r *runner) runNode(ctx context.Context, file *configs.File) (next *configs.File, err error) {
	app := newApp(r.set, file, &r.changes, r.log)
	if err := app.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotStarted, dig.RootCause(err)) // what fx says around it is about functions
	}
	startCtx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := app.Start(startCtx); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotStarted, err)
	}
	for _, w := range r.set.Warnings(file) {
		r.log.Warn("configuration: " + w.Error())
	}
	r.log.Info("node runs", "node", file.Node.Node, "version", version(), "peers", len(file.Node.Peers), "routes", len(file.Node.Routes))
	next, err = r.await(ctx, file, app)
	r.log.Info("node stops: no more is taken in, the lanes drain")
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pipeline.StopTimeout)
	defer cancel()
	if stopErr := app.Stop(stopCtx); stopErr != nil {
		return nil, errors.Join(err, stopErr)
	}
	return next, err
}

// await returns when the node is to stop: with an error because it died, with a new file because that has changed.
func (r *runner) await(ctx context.Context, running *configs.File, app *fx.App) (*configs.File, error) {
	ended := app.Wait()
	for {
		select {
		case <-r.hangup:
			file, err := r.reread(ctx, running)
			r.changes.note(r.path, err)
			if err == nil {
				return file, nil
			}
			r.log.Error("configuration not taken up, the node goes on as it was", "error", err)
		case signal := <-ended: // fx hears SIGTERM and SIGINT too; a node that died says so with its status
			if signal.ExitCode != 0 {
				return nil, errors.New("the node died, see the log")
			}
			return nil, nil
		case <-ctx.Done():
			return nil, nil
		}
	}
}

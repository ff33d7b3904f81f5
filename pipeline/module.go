// Package pipeline is a relay: it takes messages from the local broker into durable lanes, carries them to the peers that
// asked for them as sealed frames over any transport, and hands what comes from peers to the broker.
//
// Three Watermill routers join the parts: out (the broker to the lanes), deliver (each lane to its transport) and in (each
// transport to the broker). [Module] builds and runs a [Node] under fx.
package pipeline

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.uber.org/fx"

	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/lanes"
)

// StopTimeout is what fx must allow the node for stopping: three routers, one after the other, and the draining.
const StopTimeout = 3*closeTimeout + drainTime + 5*time.Second

// Module builds and runs a [Node]. It needs a [Config], a [Broker], the transports by name and a logger.
func Module() fx.Option {
	s := &openStore{}
	return fx.Module("pipeline",
		fx.Provide(newIdentity, s.open, New),
		fx.Invoke(run),
		fx.ErrorHook(s),
	)
}

func newIdentity(cfg Config) (*identity.Identity, error) { return identity.Load(cfg.DataDir) }

// openStore is the application's store. While it is open the data directory is locked.
type openStore struct{ *lanes.Store }

// open opens the store until the application stops.
func (s *openStore) open(lc fx.Lifecycle, cfg Config, log *slog.Logger) (*lanes.Store, error) {
	store, err := lanes.Open(cfg.DataDir, lanes.Options{}, log)
	if err != nil {
		return nil, err
	}
	s.Store = store
	lc.Append(fx.StopHook(store.Close))
	return store, nil
}

// HandleError implements fx.ErrorHandler: an application that could not be built is never stopped.
func (s *openStore) HandleError(error) {
	if s.Store != nil {
		_ = s.Close() // it holds nothing new, and the error that counts is the application's
	}
}

// run ties the node to the application. A router that ends by itself ends the application with status 1.
func run(lc fx.Lifecycle, shutdown fx.Shutdowner, node *Node, log *slog.Logger) {
	var once sync.Once // a router and its handlers may end together, and fx takes one shutdown at a time
	died := func(err error) {
		log.Error("the node cannot go on", "error", err)
		once.Do(func() { _ = shutdown.Shutdown(fx.ExitCode(1)) }) // fails only when the application is stopping already
	}
	lc.Append(fx.Hook{
		OnStart: func(ctx context.Context) error { return node.Start(ctx, died) },
		OnStop:  node.Stop,
	})
}

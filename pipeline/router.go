package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

// closeTimeout bounds how long a router waits for its handlers. fx's stop, which waits for the routers, is given more.
const closeTimeout = 15 * time.Second

// router is a Watermill router that runs in a goroutine of its own.
type router struct {
	*message.Router
	name     string
	done     chan error // what Run returned
	handlers []*message.Handler
	stopping atomic.Bool
}

// add adds a handler. It is vital: the node does not go on without it.
func (r *router) add(name, topic string, from message.Subscriber, handle message.NoPublishHandlerFunc) {
	r.handlers = append(r.handlers, r.AddConsumerHandler(name, topic, from, handle))
}

func newRouter(name string, log *slog.Logger) (*router, error) {
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, quiet{watermill.NewSlogLoggerWithLevelMapping(
		log.With("router", name), map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})})
	if err != nil {
		return nil, fmt.Errorf("router %s: %w", name, err)
	}
	return &router{Router: r, name: name, done: make(chan error, 1)}, nil
}

// start runs the router and waits until it does. When it ends without having been stopped, or one of its handlers does, because
// its subscriber has closed the channel, it calls died. A router whose handlers have all ended closes itself and says no error.
func (r *router) start(ctx context.Context, died func(error)) error {
	go func() {
		err := r.Run(context.WithoutCancel(ctx))
		if !r.stopping.Load() {
			died(fmt.Errorf("router %s ended by itself: %w", r.name, cmp.Or(err, errHandlersEnded)))
		}
		r.done <- err
	}()
	select {
	case <-r.Running():
		r.watch(died)
		return nil
	case err := <-r.done:
		r.done <- err // for stop
		return fmt.Errorf("router %s: %w", r.name, err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watch calls died when a handler ends before the router is stopped. Its goroutines end with the handlers.
func (r *router) watch(died func(error)) {
	for _, h := range r.handlers {
		stopped := h.Stopped()
		go func() {
			<-stopped
			if !r.stopping.Load() {
				died(fmt.Errorf("router %s: a handler ended by itself", r.name))
			}
		}()
	}
}

var errHandlersEnded = errors.New("its handlers have ended")

// stop closes the router and waits for it, if it was started.
func (r *router) stop() error {
	if !r.IsRunning() {
		return nil
	}
	r.stopping.Store(true)
	err := r.Close()
	<-r.done
	if err != nil {
		return fmt.Errorf("router %s: %w", r.name, err)
	}
	return nil
}

// lent is a subscriber that the router must not close when a handler ends: transports are shared, and who opened closes.
type lent struct{ message.Subscriber }

func (lent) Close() error { return nil }

// quiet keeps the router from logging what the handlers have logged already, once and not at every attempt, and from putting
// together what it says of each message at a level that is never logged.
type quiet struct{ watermill.LoggerAdapter }

func (quiet) Trace(string, watermill.LogFields) {}

func (q quiet) Error(msg string, err error, fields watermill.LogFields) {
	if msg == "Handler returned error" {
		q.Debug(msg, fields.Add(watermill.LogFields{"error": err}))
		return
	}
	q.LoggerAdapter.Error(msg, err, fields)
}

func (q quiet) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return quiet{q.LoggerAdapter.With(fields)}
}

package twister

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// daemon watches one twisterd. To be replaced: this one knows the readiness test and nothing else.
type daemon struct {
	config Config
	client *rpc.Client
	status *status
	log    *slog.Logger
	awake  chan struct{}

	mu      sync.Mutex
	session *session
	begun   chan struct{}
	best    int
}

// session is a stretch of time in which the daemon is ready.
type session struct {
	ctx      context.Context
	end      context.CancelFunc
	lastHave int
}

func newDaemon(c Config, client *rpc.Client, st *status, _ func() int, log *slog.Logger) *daemon {
	return &daemon{config: c, client: client, status: st, log: log, awake: make(chan struct{}, 1), begun: make(chan struct{})}
}

var errNotReady = errors.New("twisterd is still starting")

func (d *daemon) run(ctx context.Context) {
	d.status.set(transports.Connecting, nil)
	for ctx.Err() == nil {
		have, err := d.look(ctx)
		d.mu.Lock()
		switch {
		case err != nil && d.session != nil:
			d.session.end()
			d.session, d.begun = nil, make(chan struct{})
		case err == nil && d.session == nil:
			d.session = &session{lastHave: have}
			d.session.ctx, d.session.end = context.WithCancel(ctx)
			close(d.begun)
		}
		d.mu.Unlock()
		if err != nil {
			d.status.set(transports.Connecting, err)
		} else {
			d.status.set(transports.Up, nil)
		}
		timer := time.NewTimer(d.config.Poll)
		select {
		case <-timer.C:
		case <-d.awake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	if s := d.session; s != nil {
		s.end()
	}
}

func (d *daemon) look(ctx context.Context) (int, error) {
	info, err := d.client.Info(ctx)
	switch {
	case err != nil:
		return 0, err
	case !info.HasSession():
		return 0, errNotReady
	case info.Locked():
		return 0, rpc.ErrWalletLocked
	}
	d.mu.Lock()
	d.best = info.Blocks
	d.mu.Unlock()
	names, err := d.client.Following(ctx, d.config.User)
	if err != nil {
		return 0, err
	}
	want := append([]string{d.config.User}, d.config.Peers...)
	missing := slices.DeleteFunc(want, func(n string) bool { return slices.Contains(names, n) })
	if len(missing) > 0 {
		if err := d.client.Follow(ctx, d.config.User, missing...); err != nil {
			return 0, err
		}
	}
	if slices.Contains(missing, d.config.User) {
		return 0, errNotReady
	}
	have, err := d.client.LastHave(ctx, d.config.User, d.config.User)
	return have[d.config.User], err
}

func (d *daemon) await(ctx context.Context) (*session, error) {
	for {
		d.mu.Lock()
		s, begun := d.session, d.begun
		d.mu.Unlock()
		if s != nil && s.ctx.Err() == nil {
			return s, nil
		}
		select {
		case <-begun:
		case <-ctx.Done():
			return nil, fmt.Errorf("twisterd is not ready: %w", ctx.Err())
		}
		if s != nil && s.ctx.Err() != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func (d *daemon) suspect() {
	select {
	case d.awake <- struct{}{}:
	default:
	}
}

func (d *daemon) height() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.best
}

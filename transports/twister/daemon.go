package twister

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// daemon watches the twisterd that the transport drives: it brings user and daemon to where they can send and receive, and says
// when they can.
type daemon struct {
	config Config
	client *rpc.Client
	status *status
	k      func() (last int, known bool) // the last that was posted for certain, -1 if none; known unless nothing was ever kept
	log    *slog.Logger
	// registered, if set, is told the height of the block that has confirmed a user whom this node has registered.
	registered func(height int)
	// used, if set, is told in a session of a k that the daemon has, and reports whether it is of a post by other means.
	used  func(k int) bool
	pace  pace
	cliff int // bytes of user data to warn from on

	wake wake // for a look
	best atomic.Int64

	start   startUp // of run alone, as is chain
	chain   chainWatch
	mu      sync.Mutex
	session *session // nil while there is none
	peers   bool     // somebody can get what is posted
	alone   bool     // no other daemon waits for what is posted
	wallet  []string // users whose keys are here
	changed chan struct{}
}

func newDaemon(c Config, client *rpc.Client, st *status, k func() (int, bool), log *slog.Logger) *daemon {
	return &daemon{
		config: c, client: client, status: st, k: k, log: log, pace: newPace(c.Second), cliff: warnUserData,
		wake: newWake(), changed: make(chan struct{}), chain: chainWatch{path: statePath(c, "daemon.json")}, start: startUp{sent: -1},
	}
}

// run looks at the daemon until ctx ends, and begins and ends sessions.
func (d *daemon) run(ctx context.Context) {
	defer d.endSession()
	if err := d.chain.load(); err != nil {
		d.log.Warn("what was known of the block chain is lost", slog.Any("err", err))
	}
	for ctx.Err() == nil {
		wait := d.pace.retry
		if d.look(ctx) {
			wait = d.pace.health
		}
		d.wake.sleep(ctx, wait)
	}
}

// suspect has the daemon looked at once: a call failed in a way that may mean it is gone.
func (d *daemon) suspect() { d.wake.up() }

// height returns the best block known, 0 if none.
func (d *daemon) height() int { return int(d.best.Load()) }

// look reports whether the daemon is ready. Only run calls it.
func (d *daemon) look(ctx context.Context) bool {
	err := d.bringUp(ctx)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		d.endSession()
		d.status.set(stateFor(err), err)
		return false
	}
	trouble := d.chain.trouble(time.Now())
	if trouble == nil && !d.hasPeers() {
		trouble = fmt.Errorf("%w (of %s)", errNoPeer, d.config.User)
	}
	if trouble != nil && !d.start.oneBox {
		d.status.set(transports.Stalled, beside(trouble, d.start.warning()))
		return true
	}
	d.status.set(transports.Up, beside(trouble, d.start.warning()))
	return true
}

// beside joins errors in one line.
func beside(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return fmt.Errorf("%w; %w", a, b)
}

// bringUp returns nil when a session is there.
func (d *daemon) bringUp(ctx context.Context) error {
	info, err := d.client.Info(ctx)
	if err != nil {
		d.start.lost()
		switch {
		case errors.Is(err, rpc.ErrUnreachable):
			return fmt.Errorf("%s: %w (%s)", d.client.URL(), rpc.ErrUnreachable, root(err))
		case errors.Is(err, rpc.ErrUnknownOutcome) && errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("%s: %w", d.client.URL(), errSilent)
		case errors.Is(err, rpc.ErrUnknownOutcome):
			return fmt.Errorf("%s: %w (%s)", d.client.URL(), errBrokenOff, root(err))
		}
		return err
	}
	d.best.Store(int64(info.Blocks))
	d.chain.see(info, time.Now())
	switch {
	case !info.HasSession():
		d.start.lost()
		return rpc.ErrWarmingUp
	case info.PublicServer:
		return rpc.ErrPublicServer
	case info.Locked():
		d.start.locked = true
		return rpc.ErrWalletLocked
	}
	if d.session != nil {
		return d.check(ctx)
	}
	last, have, err := d.startUp(ctx)
	if err == nil {
		d.begin(ctx, last, have)
	}
	return err
}

// check returns an error when the daemon has lost what the session began with.
func (d *daemon) check(ctx context.Context) error {
	if err := d.follow(ctx); err != nil {
		return err
	}
	have, err := d.lastHave(ctx)
	if err != nil {
		return err
	}
	if have < d.session.have {
		return fmt.Errorf("%w: its last post was %d and is %d", errWentBack, d.session.have, have)
	}
	if last, _ := d.k(); have > last && d.used != nil && d.used(have) {
		d.start.others = time.Now()
	}
	d.session.have = have
	d.watchData(ctx)
	return d.lookForPeers(ctx)
}

var (
	errNoPeer   = errors.New("no other daemon is connected to the torrent: what is sent waits until a peer's daemon comes")
	errWentBack = errors.New("twisterd was killed and has lost its last posts")

	errSilent    = errors.New("what listens there gives no answer: if that is twisterd, end what keeps connections to it open, ten of which block it, or restart it; else look at host and port of the url")
	errBrokenOff = errors.New("what listens there gives no answer and ends the connection: look at host and port of the url, and whether twisterd has just ended")
)

// stateFor tells a daemon that is away from one that answers and does nothing.
func stateFor(err error) transports.State {
	for _, stalled := range []error{
		rpc.ErrWalletLocked, rpc.ErrPublicServer, rpc.ErrNotConfirmed, rpc.ErrNoSuchUser, rpc.ErrNotInWallet, errFollowsNobody,
	} {
		if errors.Is(err, stalled) {
			return transports.Stalled
		}
	}
	return transports.Connecting
}

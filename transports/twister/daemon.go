package twister

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// pace is how often and how long the daemon is looked at and waited for.
type pace struct {
	retry  time.Duration // between looks while it is not ready
	health time.Duration // between looks while it is; less than the ten seconds of its warm-up, so that no restart is missed
	grace  time.Duration // how long it may take to read its user data once its session exists: up to 21 s were measured
	settle time.Duration // how long it may take to get pieces back that it has lost
	quiet  time.Duration // without a new block after which it has fetched all there are
	data   time.Duration // between looks at the size of its user data
}

// newPace returns the pace for a twisterd that takes as long for what takes it a second.
func newPace(u time.Duration) pace {
	return pace{retry: u, health: 5 * u, grace: 22 * u, settle: 60 * u, quiet: 60 * u, data: time.Hour}
}

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
	// used, if set, is told in a session of a k that the daemon has, and that may be of a post by other means.
	used  func(k int)
	pace  pace
	cliff int // bytes of user data to warn from on

	wake chan struct{} // holds a token when a look is due at once
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

// session is a stretch of time in which the daemon is ready.
type session struct {
	ctx      context.Context // ends with it
	end      context.CancelFunc
	lastHave int // k of the last post of the own user that was known of when it began, -1 if none
	begun    time.Time
	have     int // the greatest that the daemon has had since, -1 if none; of run alone
}

func newDaemon(c Config, client *rpc.Client, st *status, k func() (int, bool), log *slog.Logger) *daemon {
	return &daemon{
		config: c, client: client, status: st, k: k, log: log, pace: newPace(c.Second), cliff: warnUserData,
		wake: make(chan struct{}, 1), changed: make(chan struct{}), chain: chainWatch{path: statePath(c, "daemon.json")}, start: startUp{sent: -1},
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
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-d.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// suspect has the daemon looked at once: a call failed in a way that may mean it is gone.
func (d *daemon) suspect() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// height returns the best block known, 0 if none.
func (d *daemon) height() int { return int(d.best.Load()) }

// await returns the session as soon as there is one.
func (d *daemon) await(ctx context.Context) (*session, error) {
	for {
		d.mu.Lock()
		s, changed := d.session, d.changed
		d.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("twisterd is not ready: %w", ctx.Err())
		case s != nil:
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

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
		d.status.set(transports.Stalled, trouble)
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
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("%s: %w", d.client.URL(), errSilent)
		case errors.Is(err, rpc.ErrUnreachable):
			return fmt.Errorf("%s: %w", d.client.URL(), rpc.ErrUnreachable)
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
	if last, _ := d.k(); have > last && d.used != nil {
		d.used(have)
	}
	d.session.have = have
	d.watchData(ctx)
	return d.lookForPeers(ctx)
}

func (d *daemon) begin(ctx context.Context, last, have int) {
	d.start.done(d.log)
	s := &session{lastHave: last, have: have, begun: time.Now()}
	s.ctx, s.end = context.WithCancel(ctx)
	d.status.connected()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session = s
	d.announce()
}

func (d *daemon) endSession() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session != nil {
		d.session.end()
		d.session = nil
		d.announce()
	}
}

// announce wakes whoever waits. It is called under the lock.
func (d *daemon) announce() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// lookForPeers notes whether anybody can get what is posted.
func (d *daemon) lookForPeers(ctx context.Context) error {
	torrent, _, err := d.client.TorrentStatus(ctx, d.config.User)
	if err != nil {
		return err
	}
	if torrent.Peers > 0 {
		d.chain.seeFollower()
	}
	peers, alone := torrent.Peers > 0 || d.start.oneBox, d.start.oneBox || !d.chain.state.Followed
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peers, d.alone = peers, alone
	return nil
}

func (d *daemon) hasPeers() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.peers
}

// isAlone reports whether no other daemon waits for what is posted: none has ever had the user's torrent, or all peers have their keys
// in the same wallet.
func (d *daemon) isAlone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.alone
}

// hasAll reports whether a torrent has all that there is to get: of a user who posts from this daemon that is so while no other is
// connected.
func (d *daemon) hasAll(user string, torrent rpc.TorrentStatus) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return torrent.CaughtUp() || len(torrent.Connected) == 0 && slices.Contains(d.wallet, user)
}

func (d *daemon) lastHave(ctx context.Context) (int, error) {
	have, err := d.client.LastHave(ctx, d.config.User, d.config.User)
	if err != nil {
		return -1, err
	}
	if k, ok := have[d.config.User]; ok {
		return k, nil
	}
	return -1, nil
}

var (
	errSilent   = errors.New("twisterd gives no answer: end what keeps connections to it open, ten of which block it, or restart it, or look at host and port of the url")
	errNoPeer   = errors.New("no other daemon is connected to the torrent: what is sent waits until a peer's daemon comes")
	errWentBack = errors.New("twisterd was killed and has lost its last posts")
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

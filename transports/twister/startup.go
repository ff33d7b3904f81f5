package twister

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// startUp is how far the daemon and the user have come on the way to a session.
type startUp struct {
	said      map[string]bool // steps that are logged
	warming   bool            // the daemon was seen without a session, so that it may not have read its user data yet
	locked    bool            // the wallet was: what came meanwhile is not listed
	begun     time.Time       // when the session of the daemon was first seen
	oneBox    bool            // as the daemon's
	confirmed int             // the height at which a user was found who had been waited for; 0 if none was
	absent    int             // the height at which the user was last not there
	sent      int             // the height at which the registration was last sent, -1 if never
	strangers []string        // peers that cannot be followed
	data      error           // what is to be said of the user data
	measured  time.Time
}

var (
	errFetches       = errors.New("twisterd may be fetching blocks, and with them it may know the name yet: the user is registered once none has come for a minute")
	errFollowsNobody = errors.New("user does not follow himself")
)

// lost is called while the daemon is away or has no session: all has to be looked at again.
func (s *startUp) lost() {
	s.said, s.warming, s.begun, s.sent = nil, true, time.Time{}, -1
}

// done is called when a session begins.
func (s *startUp) done(log *slog.Logger) {
	log.Info("twisterd is ready")
	s.said, s.warming, s.begun, s.sent, s.confirmed = nil, false, time.Time{}, -1, 0
}

// warning is what is wrong and stops nothing.
func (s *startUp) warning() error {
	if len(s.strangers) == 0 {
		return s.data
	}
	return beside(fmt.Errorf("not followed, so that nothing comes from them: %s (no such user yet, or follow: check)", strings.Join(s.strangers, ", ")), s.data)
}

// step logs what is done now, once.
func (d *daemon) step(text string, args ...any) {
	if d.start.said == nil {
		d.start.said = map[string]bool{}
	}
	if !d.start.said[text] {
		d.start.said[text] = true
		d.log.Info(text, args...)
	}
}

// startUp takes the steps that are possible now. Its error says what it waits for; nil means that all are taken, and comes with the
// last k of the user that is known of, and the last that the daemon has.
func (d *daemon) startUp(ctx context.Context) (last, have int, err error) {
	if d.start.begun.IsZero() {
		d.start.begun = time.Now()
	}
	d.step("checking user", slog.String("user", d.config.User), slog.Int("height", d.height()))
	if err := d.checkUser(ctx); err != nil {
		return -1, -1, err
	}
	if err := d.rescan(ctx); err != nil {
		return -1, -1, err
	}
	d.step("checking whom the user follows", slog.String("want", strings.Join(d.wanted(), ", ")))
	if err := d.follow(ctx); err != nil {
		return -1, -1, err
	}
	last, have, err = d.learnK(ctx)
	if err != nil {
		return -1, -1, err
	}
	d.watchData(ctx)
	return last, have, d.lookForPeers(ctx)
}

// checkUser returns nil when the user is confirmed and his key is here.
func (d *daemon) checkUser(ctx context.Context) error {
	user := d.config.User
	wallet, err := d.client.WalletUsers(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.wallet = wallet
	d.mu.Unlock()
	d.start.oneBox = len(d.config.Peers) > 0
	for _, peer := range d.config.Peers {
		d.start.oneBox = d.start.oneBox && slices.Contains(wallet, peer)
	}
	here := slices.Contains(wallet, user)
	before, err := d.client.BlockCount(ctx)
	if err != nil {
		return err
	}
	_, err = d.client.UserID(ctx, user)
	switch {
	case err != nil && !errors.Is(err, rpc.ErrNoSuchUser):
		return err
	case err == nil && !here:
		return fmt.Errorf("user %s: %w", user, rpc.ErrNotInWallet)
	case err == nil:
		return d.awaitNextBlock(ctx)
	case !d.config.Register && !here:
		return fmt.Errorf("user %s: %w; register: true has weft register it; a daemon that is still fetching blocks (it has %d) may not know it yet",
			user, rpc.ErrNoSuchUser, d.height())
	}
	return d.register(ctx, here, before)
}

// register takes the next step to a confirmed user. The transaction is sent again with each block, for a daemon that was restarted
// has forgotten it.
func (d *daemon) register(ctx context.Context, here bool, before int) error {
	user := d.config.User
	if !here {
		if err := d.chain.unsettled(time.Now(), d.pace.quiet); err != nil {
			return fmt.Errorf("register %s: %w", user, err)
		}
		d.step("making a key for the user", slog.String("user", user))
		if err := d.client.CreateWalletUser(ctx, user); err != nil && !errors.Is(err, rpc.ErrUserExists) {
			return fmt.Errorf("register %s: %w", user, err)
		}
	}
	waiting := fmt.Errorf("user %s: %w", user, rpc.ErrNotConfirmed)
	d.start.confirmed, d.start.absent = -1, before
	switch {
	case !d.config.Register:
		return fmt.Errorf("%w; register: true has weft send the registration", waiting)
	case d.start.sent == d.height():
		return waiting
	}
	d.step("registering the user", slog.String("user", user))
	_, err := d.client.SendNewUserTransaction(ctx, user)
	if err != nil && !errors.Is(err, rpc.ErrRejected) && !errors.Is(err, rpc.ErrNameTaken) {
		return fmt.Errorf("register %s: %w", user, err)
	}
	d.log.Info("waiting for a block that confirms the user", slog.Int("height", d.height()))
	d.start.sent = d.height()
	return waiting
}

// awaitNextBlock has a user who was just confirmed wait: posts are signed as of the block before the newest.
func (d *daemon) awaitNextBlock(ctx context.Context) error {
	if d.start.confirmed == 0 {
		return nil
	}
	height, err := d.client.BlockCount(ctx)
	if err != nil {
		return err
	}
	if d.start.confirmed < 0 {
		d.start.confirmed = height
		if d.registered != nil && height == d.start.absent+1 {
			d.registered(height)
		}
		d.log.Info("the user is confirmed; waiting for one more block", slog.Int("height", height))
	}
	if height <= d.start.confirmed {
		return fmt.Errorf("user %s: %w", d.config.User, rpc.ErrNotConfirmed)
	}
	return nil
}

// rescan lists what came while the wallet was locked.
func (d *daemon) rescan(ctx context.Context) error {
	if !d.start.locked {
		return nil
	}
	d.step("looking for messages that came while the wallet was locked")
	if err := d.client.RescanDirectMessages(ctx, d.config.User); err != nil {
		return err
	}
	d.start.locked = false
	return nil
}

// wanted are whom the user has to follow, himself first.
func (d *daemon) wanted() []string {
	others := slices.Compact(slices.Sorted(slices.Values(slices.Concat(d.config.Peers, d.config.Feeds))))
	return append([]string{d.config.User}, slices.DeleteFunc(others, func(name string) bool { return name == d.config.User })...)
}

// follow makes up for what is missing in the list of whom the user follows, or says how to.
func (d *daemon) follow(ctx context.Context) error {
	missing, err := d.missing(ctx)
	if err != nil || len(missing) == 0 {
		d.start.strangers = nil
		return err
	}
	self := missing[0] == d.config.User
	registered := d.start.confirmed != 0 // just now: there is no user data of his
	if self && !registered && d.start.warming && time.Since(d.start.begun) < d.pace.grace {
		return fmt.Errorf("%w: it has not read its user data", rpc.ErrWarmingUp)
	}
	if self && d.session != nil {
		return fmt.Errorf("%w: %w", errWentBack, errFollowsNobody)
	}
	if d.config.Follow == followCheck {
		return d.adviseFollow(missing, self)
	}
	if err := d.client.Follow(ctx, d.config.User, missing...); err != nil {
		return err
	}
	still, err := d.missing(ctx)
	if err != nil {
		return err
	}
	if len(still) > 0 && still[0] == d.config.User {
		return fmt.Errorf("%w: it takes no one to follow yet", rpc.ErrWarmingUp)
	}
	if added := slices.DeleteFunc(missing, func(name string) bool { return slices.Contains(still, name) }); len(added) > 0 {
		d.log.Info("following", slog.String("users", strings.Join(added, ", ")))
	}
	d.start.strangers = still
	return nil
}

// missing returns whom the user should follow and does not; himself first.
func (d *daemon) missing(ctx context.Context) ([]string, error) {
	names, err := d.client.Following(ctx, d.config.User)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(d.wanted(), func(name string) bool { return slices.Contains(names, name) }), nil
}

// adviseFollow says how to follow. Without following himself the user has no torrent after a restart: there is nothing to wait for.
func (d *daemon) adviseFollow(missing []string, self bool) error {
	advice := fmt.Sprintf(`twisterd follow %s '["%s"]'`, d.config.User, strings.Join(missing, `","`))
	if self {
		return fmt.Errorf("%w: run %s, or set follow: auto", errFollowsNobody, advice)
	}
	d.step("not all peers are followed: what they send does not arrive", slog.String("run", advice))
	d.start.strangers = missing
	return nil
}

// learnK returns the last k of the user that the daemon or the DHT knows of, and the last that the daemon has. While it lacks some that
// were used it may be getting them back, and is waited for; those that reached no other daemon it never will. So it may where
// nothing is kept here that says what was used.
func (d *daemon) learnK(ctx context.Context) (last, have int, err error) {
	if have, err = d.lastHave(ctx); err != nil {
		return -1, -1, err
	}
	last = have
	own, known := d.k()
	if own < 0 {
		public, err := d.publicK(ctx)
		if err != nil {
			return -1, -1, err
		}
		last = max(have, public)
	}
	registered := d.start.confirmed != 0 // just now: he has posted nothing
	if last >= own && (known || registered) {
		return last, have, nil
	}
	torrent, _, err := d.client.TorrentStatus(ctx, d.config.User)
	if err != nil {
		return -1, -1, err
	}
	switch {
	case last >= own && d.start.oneBox && torrent.ListPeers == 0: // nobody is known from whom to get anything back
	case !torrent.CaughtUp() && time.Since(d.start.begun) < d.pace.settle:
		d.step("waiting for the daemon to get back what it had", slog.Int("has", have), slog.Int("had", own))
		if !known {
			return -1, -1, fmt.Errorf("%w: nothing is kept here of what was posted, and it may be getting that back", rpc.ErrWarmingUp)
		}
		return -1, -1, fmt.Errorf("%w: its last post is %d where %d was used", rpc.ErrWarmingUp, have, own)
	case last < own:
		d.log.Warn("twisterd lacks posts that were used; going on behind them", slog.Int("has", have), slog.Int("used", own))
	}
	return last, have, nil
}

// publicK looks in the DHT for the last public post of a user of whom no k is known here. It saves a user whose node lost its data
// from using one again.
func (d *daemon) publicK(ctx context.Context) (int, error) {
	entries, err := d.client.DHTGet(ctx, d.config.User, "status", rpc.Single, dhtWait)
	if err != nil {
		return -1, err
	}
	last := -1
	for _, entry := range entries {
		if entry.Signer == d.config.User {
			last = max(last, entry.Seq)
		}
	}
	return last, nil
}

// dhtWait bounds a look into the DHT: a value that is there was found in a tenth of a second.
const dhtWait = 2 * time.Second

package twister

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

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

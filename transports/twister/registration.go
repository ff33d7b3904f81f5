package twister

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

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

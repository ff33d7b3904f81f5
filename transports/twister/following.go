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

var errFollowsNobody = errors.New("user does not follow himself")

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

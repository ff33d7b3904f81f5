package twister

import (
	"context"
	"slices"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

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

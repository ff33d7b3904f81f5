package twister

import (
	"context"
	"log/slog"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// begin finds the post behind which a peer is read who is followed for the first time, and reports whether there is something to
// read.
func (r *follower) begin(ctx context.Context, have int) (more bool, err error) {
	if have < 0 { // he has no posts, or they have not come yet
		torrent, ok, err := r.client.TorrentStatus(ctx, r.peer)
		if err != nil || !ok || !torrent.CaughtUp() {
			return false, err
		}
		r.start(-1)
		return false, nil
	}
	posts, err := r.client.Posts(ctx, postPage, rpc.PlainPosts, 0, rpc.Range{User: r.peer})
	if err != nil {
		return false, err
	}
	k := have
	for _, p := range posts {
		if !p.Promoted() && p.Name == r.peer && p.K >= 0 && p.Time >= r.at.Since {
			k = min(k, p.K-1)
		}
	}
	r.start(k)
	return k < have, nil
}

func (r *follower) start(k int) {
	r.at.Began, r.at.K, r.k, r.public = true, k, k, k
	r.save()
	r.log.Info("public posts of a peer are read from now on", slog.String("peer", r.peer), slog.Int("k", k))
}

// isHistory reports whether a post is from before the peer was first followed: the daemon fetches those as well, for a while.
func (r *follower) isHistory(p rpc.Post) bool { return p.Time < r.at.Since }

// endHistory notes when the daemon has fetched what there was before the peer was first followed.
func (r *follower) endHistory(s *session) error {
	if r.at.Since == 0 || time.Since(s.begun) < r.pace.first {
		return nil
	}
	torrent, _, err := r.client.TorrentStatus(s.ctx, r.peer)
	if err == nil && r.daemon.hasAll(r.peer, torrent) {
		r.at.Since = 0
		r.save()
	}
	return err
}

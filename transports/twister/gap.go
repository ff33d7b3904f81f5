package twister

import (
	"log/slog"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// gap is how long the post after k has been missing.
type gap struct {
	session *session  // in which the two were measured
	here    time.Time // since when nobody who is connected has it
	there   time.Time // since when it has been missing at all
}

// passGap reports whether what is missing before a post k is not waited for any longer. A k that is missing may be on its way, or was
// never used. While nobody is connected who can bring it, and where somebody has it, it may be on its way for longer.
func (r *follower) passGap(s *session, k int) (bool, error) {
	torrent, _, err := r.client.TorrentStatus(s.ctx, r.peer)
	if err != nil {
		return false, err
	}
	now := time.Now()
	switch {
	case r.gap.session != s, len(torrent.Connected) == 0 && !r.daemon.hasAll(r.peer, torrent):
		r.gap = gap{session: s, here: now, there: now}
	case torrent.Lacks(r.k+1, k): // of a peer who posts all the time something later always is under way
		r.gap.here = now
	}
	if now.Sub(r.gap.here) < r.pace.gap && now.Sub(r.gap.there) < r.pace.stuck {
		return false, nil
	}
	r.log.Debug("public posts never came", slog.String("peer", r.peer), slog.Int("after", r.k), slog.Int("before", k))
	r.gap = gap{}
	return true, nil
}

// missed counts what never came of the public posts before one: only the sender's word for the one before it tells.
func (r *follower) missed(p rpc.Post) {
	if p.LastK != nil && *p.LastK > r.public && *p.LastK < p.K {
		r.status.dropped(dropNoPost, 1)
	}
	r.public = max(r.public, p.K)
}

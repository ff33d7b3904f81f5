package twister

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

const (
	postPage     = 500 // ks that are asked for at a time
	maxDelivered = 64  // frames that are remembered, so that one posted again does not come again
	maxAside     = 1000

	dropPart    = "malformed_post"
	dropNoWhole = "post_never_whole" // parts of a frame of which the rest has not come
	dropNoPost  = "post_never_came"
)

// feedPosition is how far a peer's posts are read.
type feedPosition struct {
	Began bool  `json:"began"`           // K is known
	Since int64 `json:"since,omitempty"` // Unix time at which the peer was first followed, while older posts may still come
	K     int   `json:"k"`               // all up to here is done with
	// Aside are the ks above K that are done with as well: what came between the parts of a frame that is not whole.
	Aside  []int    `json:"aside,omitempty"`
	Recent []string `json:"recent,omitempty"` // ids of the frames that were delivered last
}

// subscribeFeed delivers the public posts of the peers that are frames or messages until ctx ends: each peer's in the order of their
// k, one at a time, each with the peer's name as MetaFrom. What a peer has posted before he is first followed is left out.
func (t *Transport) subscribeFeed(ctx context.Context, out chan<- *message.Message) {
	f := t.feed
	select {
	case <-f.reader: // the last subscription has ended
	case <-ctx.Done():
		return
	}
	defer func() { f.reader <- struct{}{} }()
	var running sync.WaitGroup
	defer running.Wait()
	heights := map[string]chan int{}
	for _, peer := range slices.Compact(slices.Sorted(slices.Values(f.config.Feeds))) {
		if peer == f.config.User {
			continue
		}
		height := make(chan int, 1)
		heights[peer] = height
		r := f.follow(peer, time.Now())
		running.Go(func() { r.run(ctx, height, out) })
	}
	f.poll(ctx, heights)
}

// poll asks for the highest k of each peer, and tells those who read them.
func (f *feed) poll(ctx context.Context, heights map[string]chan int) {
	peers := make([]string, 0, len(heights))
	for peer := range heights {
		peers = append(peers, peer)
	}
	for len(peers) > 0 {
		s, err := f.daemon.await(ctx)
		if err != nil {
			return
		}
		have, err := f.client.LastHave(s.ctx, f.config.User, peers...)
		if err != nil && s.ctx.Err() == nil {
			f.daemon.suspect()
		}
		for peer, k := range have {
			if to, ok := heights[peer]; ok {
				select {
				case <-to: // not looked at yet
				default:
				}
				to <- k
			}
		}
		pause(ctx, f.config.Poll)
	}
	<-ctx.Done()
}

// follower reads the posts of one peer. One goroutine uses it.
type follower struct {
	*feed
	peer string
	at   feedPosition
	k    int // read up to here; at.K is behind while a frame is not whole

	parts struct { // of the frame that is being put together
		part
		next int
	}
	public int // no public post is missed up to this k
	gap    gap
}

// gap is how long the post after k has been missing.
type gap struct {
	session *session  // in which the two were measured
	here    time.Time // since when nobody who is connected has it
	there   time.Time // since when it has been missing at all
}

func (f *feed) follow(peer string, now time.Time) *follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &follower{feed: f, peer: peer, at: f.kept[peer], public: -1}
	if !r.at.Began && r.at.Since == 0 {
		r.at.Since = now.Unix()
	}
	r.k = r.at.K
	if r.at.Began {
		r.public = r.k
	}
	return r
}

// save keeps the position. It says nothing to the reader of an error: the worst is that messages come again after a restart.
func (r *follower) save() {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.at
	at.Aside, at.Recent = slices.Clone(at.Aside), slices.Clone(at.Recent)
	r.kept[r.peer] = at
	if err := saveState(r.path, r.kept); err != nil {
		r.log.Error("position in public posts is not kept: after a restart messages come again", slog.Any("err", err))
	}
}

func (r *follower) run(ctx context.Context, heights <-chan int, out chan<- *message.Message) {
	r.save()
	for {
		select {
		case have := <-heights:
			r.catchUp(ctx, have, out)
		case <-ctx.Done():
			return
		}
	}
}

// catchUp reads up to k have, unless something is missing that may still come.
func (r *follower) catchUp(ctx context.Context, have int, out chan<- *message.Message) {
	for ctx.Err() == nil && (!r.at.Began || r.k < have) {
		s, err := r.daemon.await(ctx)
		if err != nil {
			return
		}
		more := false
		switch {
		case !r.at.Began:
			more, err = r.begin(s.ctx, have)
		default:
			if err = r.endHistory(s); err == nil {
				more, err = r.readPage(ctx, s, min(have, r.k+postPage), out)
			}
		}
		if err != nil {
			r.log.Debug("public posts are not read", slog.String("peer", r.peer), slog.Any("err", err))
			if s.ctx.Err() == nil {
				r.daemon.suspect()
			}
			return
		}
		if !more {
			return
		}
	}
}

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

// readPage reads the posts up to k, and reports whether it has come that far.
func (r *follower) readPage(ctx context.Context, s *session, upTo int, out chan<- *message.Message) (bool, error) {
	listed, err := r.client.Posts(s.ctx, postPage+1, rpc.AllPosts, 0, rpc.Range{User: r.peer, Since: &r.k, Max: &upTo})
	if err != nil {
		return false, err
	}
	posts := slices.DeleteFunc(listed, func(p rpc.Post) bool {
		return p.Promoted() || p.Name != r.peer || p.K <= r.k || p.K > upTo
	})
	slices.SortFunc(posts, func(a, b rpc.Post) int { return cmp.Compare(a.K, b.K) })
	for _, p := range slices.CompactFunc(posts, func(a, b rpc.Post) bool { return a.K == b.K }) {
		if p.K > r.k+1 {
			if pass, err := r.passGap(s, p.K); err != nil || !pass {
				return false, err
			}
		}
		if !r.read(ctx, p, out) {
			return false, nil
		}
		r.gap = gap{}
	}
	if r.k < upTo {
		if pass, err := r.passGap(s, upTo); err != nil || !pass {
			return false, err
		}
		r.move(upTo)
	}
	return true, nil
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

// read takes one post, and returns false when ctx ended before what it brings was acknowledged.
func (r *follower) read(ctx context.Context, p rpc.Post, out chan<- *message.Message) bool {
	if !p.Direct {
		r.missed(p)
	}
	if p.Direct || p.Foreign || slices.Contains(r.at.Aside, p.K) || r.isHistory(p) {
		r.move(p.K)
		return true
	}
	if isPiece(p.Text) {
		return r.readPart(ctx, p, out)
	}
	b, ok := parsePost(p.Text)
	if !ok { // talk
		r.move(p.K)
		return true
	}
	if !r.deliver(ctx, b.message(r.peer, p.K), out) {
		return false
	}
	r.done(p.K)
	return true
}

// missed counts what never came of the public posts before one: only the sender's word for the one before it tells.
func (r *follower) missed(p rpc.Post) {
	if p.LastK != nil && *p.LastK > r.public && *p.LastK < p.K {
		r.status.dropped(dropNoPost, 1)
	}
	r.public = max(r.public, p.K)
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

// move goes on to a post from which nothing was delivered; disk learns of it with the next that is.
func (r *follower) move(k int) {
	r.k = k
	if r.parts.next == 0 {
		r.at.K, r.at.Aside = k, nil
	}
}

// done goes on to a post that was delivered.
func (r *follower) done(k int) {
	r.move(k)
	if r.parts.next > 0 && len(r.at.Aside) < maxAside {
		r.at.Aside = append(r.at.Aside, k)
	}
	r.save()
}

// deliver hands a message out until it is acknowledged.
func (r *follower) deliver(ctx context.Context, m *message.Message, out chan<- *message.Message) bool {
	r.status.bytesIn.Add(uint64(len(m.Payload)))
	for {
		again := m.Copy()
		mine, cancel := context.WithCancel(ctx)
		again.SetContext(mine)
		acked := r.hand(ctx, again, out)
		cancel()
		if acked || ctx.Err() != nil {
			return acked
		}
		pause(ctx, nackPause)
	}
}

func (r *follower) hand(ctx context.Context, m *message.Message, out chan<- *message.Message) (acked bool) {
	select {
	case out <- m:
	case <-ctx.Done():
		return false
	}
	select {
	case <-m.Acked():
		return true
	case <-m.Nacked():
	case <-ctx.Done():
	}
	return false
}

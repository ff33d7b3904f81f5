package twister

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
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
	peers := slices.Collect(maps.Keys(heights))
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

package twister

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// feed publishes as public posts, and reads those of the peers.
type feed struct {
	config Config
	client *rpc.Client
	daemon *daemon
	status *status
	post   func(ctx context.Context, m post) (k int, err error)
	log    *slog.Logger
	pace   feedPace
	turn   turns         // of who posts: the parts of a frame follow each other
	reader chan struct{} // holds a token while there is no subscription

	path string
	mu   sync.Mutex
	kept map[string]feedPosition // by peer
}

// feedPace is how long the feed waits for what may not come.
type feedPace struct {
	saved time.Duration // until the daemon has certainly written a post to disk, as it does every 15 minutes
	lost  time.Duration // until a post that the daemon has taken and does not show is given up: it was killed
	first time.Duration // after the first follow in which older posts may still be fetched
	gap   time.Duration // until a post of a peer is given up of which later ones are here: a broken connection takes a minute
	stuck time.Duration // and while a daemon claims to have it, and does not give it
}

func newFeed(c Config, client *rpc.Client, d *daemon, st *status, send func(context.Context, post) (int, error), log *slog.Logger) *feed {
	f := &feed{
		config: c, client: client, daemon: d, status: st, post: send, log: log, path: statePath(c, "feed.json"),
		pace:   feedPace{saved: 16 * time.Minute, lost: 20 * c.Second, gap: 90 * c.Second, first: 60 * c.Second, stuck: 3600 * c.Second},
		reader: make(chan struct{}, 1),
		kept:   map[string]feedPosition{},
	}
	f.reader <- struct{}{}
	return f
}

// load reads the positions that were kept, before anything else.
func (f *feed) load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return loadState(f.path, &f.kept)
}

// publishFeed posts frames, or single messages where Bare says so, to all who follow the user. It returns when each is in the user's
// torrent and at least one other daemon has it. While none is connected, that is when the daemon has written it to disk, which takes up to
// 16 minutes. It returns at once where nobody has ever followed the user, for who follows begins with what comes then; and in one box, where
// all peers are users of the same daemon: there a kill -9 within that time can lose what a peer's node has not read.
func (t *Transport) publishFeed(frames []*message.Message) error {
	for i, m := range frames {
		posts, err := t.feed.posts(m, t.Bare(transports.Broadcast))
		if err == nil {
			ctx, cancel := t.during(m)
			err = t.feed.publish(ctx, posts, priority(m))
			cancel()
		}
		if err != nil {
			return fmt.Errorf("publish to followers: frame %d of %d: %w", i+1, len(frames), err)
		}
		t.status.bytesOut.Add(uint64(len(m.Payload)))
	}
	return nil
}

// posts returns the texts of a frame or message, by k.
func (f *feed) posts(m *message.Message, bare bool) ([]func(k int) string, error) {
	if len(m.Payload) > MaxPayload {
		return nil, transports.Permanent(fmt.Errorf("%d bytes; public posts carry %d", len(m.Payload), MaxPayload))
	}
	data := m.Payload
	if bare {
		b, err := bareMessage(m)
		if err != nil {
			return nil, err
		}
		if f.config.Format == formatSeed {
			return []func(int) string{b.seedText}, b.seedFits(maxPostText)
		}
		if text, ok := b.readable(); ok {
			return []func(int) string{constant(text)}, nil
		}
		data = b.pack()
	}
	var posts []func(int) string
	for _, text := range split(data, bare, m.UUID) {
		posts = append(posts, constant(text))
	}
	return posts, nil
}

func constant(text string) func(int) string { return func(int) string { return text } }

// sent is a post that the daemon has taken.
type sent struct {
	k       int
	text    string
	safe    bool
	listed  time.Time // when it was first seen in the torrent
	missing time.Time // since when it has been missing there
}

// publish posts the texts and waits until they are safe. What the daemon loses is posted again, all of it.
func (f *feed) publish(ctx context.Context, texts []func(int) string, priority int) error {
	for {
		posts, err := f.postAll(ctx, texts, priority)
		if err != nil {
			return err
		}
		lost, err := f.awaitSafe(ctx, posts)
		if err != nil || !lost {
			return err
		}
		f.log.Warn("twisterd has lost a public post that it had taken; posting it again", slog.Int("k", posts[0].k))
	}
}

func (f *feed) postAll(ctx context.Context, texts []func(int) string, priority int) ([]*sent, error) {
	if err := f.turn.take(ctx, priority); err != nil {
		return nil, err
	}
	defer f.turn.give()
	var posts []*sent
	for _, text := range texts {
		k, err := f.post(ctx, post{text: text, priority: priority})
		if err != nil {
			return nil, err
		}
		posts = append(posts, &sent{k: k, text: text(k)})
	}
	return posts, nil
}

// awaitSafe returns when all posts are safe, or one is lost.
func (f *feed) awaitSafe(ctx context.Context, posts []*sent) (lost bool, err error) {
	for {
		s, err := f.daemon.await(ctx)
		if err != nil {
			return false, fmt.Errorf("nobody else has it yet: %w", err)
		}
		safe := 0
		for _, p := range posts {
			if !p.safe {
				lost, err = f.look(s.ctx, p, time.Now())
			}
			switch {
			case lost:
				return true, nil
			case err != nil && s.ctx.Err() == nil:
				f.daemon.suspect()
			case p.safe:
				safe++
			}
		}
		if safe == len(posts) {
			return false, nil
		}
		pause(ctx, f.config.Poll)
	}
}

// look looks where a post is, and reports whether it is lost.
func (f *feed) look(ctx context.Context, p *sent, now time.Time) (lost bool, err error) {
	before := p.k - 1
	listed, err := f.client.Posts(ctx, 1, rpc.PlainPosts, 0, rpc.Range{User: f.config.User, Since: &before, Max: &p.k})
	if err != nil {
		return false, err
	}
	here := false
	for _, post := range listed {
		if post.Promoted() || post.K != p.k {
			continue
		}
		if post.Text != p.text { // somebody else has used this k for this user
			return true, nil
		}
		here = true
	}
	if !here {
		p.listed = time.Time{}
		if p.missing.IsZero() {
			p.missing = now
		}
		return now.Sub(p.missing) >= f.pace.lost, nil
	}
	p.missing = time.Time{}
	if p.listed.IsZero() {
		p.listed = now
	}
	daemons, err := f.client.PieceAvailability(ctx, f.config.User, p.k)
	p.safe = daemons > 0 || f.daemon.isAlone() || now.Sub(p.listed) >= f.pace.saved
	return false, err
}

package twister

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

const (
	minRetry = 100 * time.Millisecond // after a call that failed; doubles
	maxRetry = time.Minute
)

// poster owns the user's k: it is the only one that posts for him. Of what waits, receipts and the highest priority go first, and of that what
// waits longest.
type poster struct {
	config Config
	client *rpc.Client
	daemon *daemon
	log    *slog.Logger
	path   string
	wake   wake // for what is queued
	// begins is called from the goroutine of run at the beginning of each session, before anything is posted in it.
	begins func(ctx context.Context)

	mu       sync.Mutex // guards all that follows
	queue    queue
	next     int  // the k that is used next
	posted   int  // the last k that was used for certain, -1 if none
	reserved int  // ks below are reserved on disk
	sending  bool // the daemon may have next already
	stride   int
	at       time.Time // of the last reservation
	kept     posterState
	funds    budget
	why      error // of the last attempt, nil after one that succeeded
}

func newPoster(c Config, client *rpc.Client, log *slog.Logger) *poster {
	return &poster{
		config: c, client: client, log: log, path: statePath(c, "poster.json"), wake: newWake(),
		funds: budget{margin: c.Margin}, posted: -1, kept: posterState{Last: unknown},
	}
}

// trouble returns why nothing is posted, nil if nothing is wrong.
func (p *poster) trouble() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}

// post sends a post and returns its k as soon as the daemon has taken it, or -1 where it was left out. It waits for a session, for the budget and for what
// goes first. When ctx ends while it is being sent it may still go out. An error of the post itself (an unknown recipient, a text
// that is too long) is returned at once; what is wrong with the daemon is waited for, and told when ctx ends.
func (p *poster) post(ctx context.Context, m post) (int, error) {
	type outcome struct {
		k   int
		err error
	}
	done := make(chan outcome, 1)
	w := p.enqueue(ctx, m, func(k int, err error) { done <- outcome{k, err} })
	select {
	case o := <-done:
		return o.k, o.err
	case <-ctx.Done():
		return -1, w.ended(ctx)
	}
}

// enqueue has a post sent, and calls done once from the goroutine of run: with its k, or with -1 and why it was not sent, or with -1
// and nil where its text was empty. After run has ended it is never called.
func (p *poster) enqueue(ctx context.Context, m post, done func(k int, err error)) *waiting {
	w := &waiting{post: m, ctx: ctx, done: done}
	p.mu.Lock()
	p.queue.push(w)
	p.mu.Unlock()
	p.wake.up()
	return w
}

// run posts until ctx ends, and then keeps the exact k.
func (p *poster) run(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := p.daemon.await(ctx)
		if err != nil {
			break
		}
		if err := p.begin(s); err != nil {
			p.log.Error("twister posts are not accounted for", "error", err)
		}
		if p.begins != nil {
			p.begins(s.ctx)
		}
		p.runIn(ctx, s)
	}
	p.mu.Lock()
	next := p.next
	p.mu.Unlock()
	if err := p.save(next); err != nil {
		p.log.Error("twister posts are not accounted for", "error", err)
	}
}

// begin takes the daemon's k where it is ahead: the user has posted by other means. From then on it is known what was used.
func (p *poster) begin(s *session) error {
	p.saw(s.lastHave)
	p.mu.Lock()
	p.funds.block(p.daemon.height(), time.Now())
	next := max(p.next, p.reserved)
	p.mu.Unlock()
	return p.save(next)
}

// runIn posts until the session ends.
func (p *poster) runIn(ctx context.Context, s *session) {
	retry := minRetry
	for ctx.Err() == nil && s.ctx.Err() == nil {
		w, wait := p.pick()
		if w == nil {
			p.wake.sleep(s.ctx, wait)
			continue
		}
		if err := p.send(s.ctx, w); err == nil {
			retry = minRetry
			continue
		}
		p.daemon.suspect()
		pause(s.ctx, retry)
		retry = min(2*retry, maxRetry)
	}
}

// pick takes the post that goes now out of the queue, or says how long to wait before looking again.
func (p *poster) pick() (*waiting, time.Duration) {
	p.mu.Lock()
	var ended []*waiting
	defer func() {
		p.mu.Unlock()
		for _, w := range ended {
			w.done(-1, w.ended(w.ctx))
		}
	}()
	p.funds.block(p.daemon.height(), time.Now())
	wait := p.funds.wait(p.next, time.Now())
	for {
		w := p.queue.first()
		switch {
		case w == nil:
			return nil, maxRetry
		case w.ctx.Err() != nil:
			ended = append(ended, p.queue.pop())
		case wait < 0: // for a block, which nothing announces
			w.failed(rpc.ErrBudgetSpent)
			p.why = rpc.ErrBudgetSpent
			return nil, p.config.Poll
		case wait > 0:
			return nil, min(wait, p.config.Poll)
		default:
			return p.queue.pop(), 0
		}
	}
}

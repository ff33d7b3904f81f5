package twister

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// post is what the poster sends.
type post struct {
	to string // empty: a public post
	// text returns what to send as the post k, and is called for each attempt. An empty text says that there is nothing to send
	// any more: the post is left out, and that is no error.
	text     func(k int) string
	priority int
	receipt  bool // it brings nothing else
}

// The poster reserves ks on disk before it uses them: one at a time while it posts seldom, and up to maxStride when it posts all the
// time. A crash wastes what was reserved and not used; a close does not.
const (
	maxStride    = 16
	strideWithin = time.Second

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
	wake   chan struct{}
	// begins is called from the goroutine of run at the beginning of each session, before anything is posted in it.
	begins func(ctx context.Context)

	mu       sync.Mutex // guards all that follows
	queue    queue
	next     int // the k that is used next
	posted   int // the last k that was used for certain, -1 if none
	reserved int // ks below are reserved on disk
	stride   int
	at       time.Time // of the last reservation
	kept     posterState
	funds    budget
	why      error // of the last attempt, nil after one that succeeded
}

// posterState is what the poster keeps on disk.
type posterState struct {
	Next   int    `json:"next"` // no k from here on was ever used
	Last   int    `json:"last"` // k of the last post for certain, -1 if none: those up to Next may only have been reserved
	Bounds bounds `json:"registered"`
}

func newPoster(c Config, client *rpc.Client, log *slog.Logger) *poster {
	return &poster{
		config: c, client: client, log: log, path: statePath(c, "poster.json"), wake: make(chan struct{}, 1),
		funds: budget{margin: c.Margin}, posted: -1, kept: posterState{Last: unknown},
	}
}

// load reads what the last one kept, before run.
func (p *poster) load() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := loadState(p.path, &p.kept); err != nil {
		return err
	}
	if p.kept.Next < 0 || p.kept.Next > maxNumber {
		return fmt.Errorf("state of the transport: %s: next is %d", p.path, p.kept.Next)
	}
	p.posted = max(min(p.kept.Last, p.kept.Next-1), -1)
	p.next, p.reserved = p.kept.Next, p.kept.Next
	p.funds.bounds = p.kept.Bounds
	return nil
}

// unknown stands for the last k where nothing was ever kept.
const unknown = -2

// last returns the last k that was used for certain, -1 if none; and false if nothing was ever kept, so that more may have been.
func (p *poster) last() (k int, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.posted, p.kept.Last != unknown
}

// budget returns what the user may post.
func (p *poster) budget() Budget {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.funds.report(p.next)
}

// trouble returns why nothing is posted, nil if nothing is wrong.
func (p *poster) trouble() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}

// registered takes in the height at which this node has registered the user.
func (p *poster) registered(height int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.funds.registered(height)
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

// waiting is a post in the queue.
type waiting struct {
	post
	ctx  context.Context
	done func(k int, err error)

	mu  sync.Mutex
	why error // of the last attempt
}

// enqueue has a post sent, and calls done once from the goroutine of run: with its k, or with -1 and why it was not sent, or with -1
// and nil where its text was empty. After run has ended it is never called.
func (p *poster) enqueue(ctx context.Context, m post, done func(k int, err error)) *waiting {
	w := &waiting{post: m, ctx: ctx, done: done}
	p.mu.Lock()
	p.queue.push(w)
	p.mu.Unlock()
	p.stir()
	return w
}

// ended is the error of a post whose context has ended.
func (w *waiting) ended(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(ctx.Err(), w.why)
}

func (w *waiting) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.why = err
}

func (p *poster) stir() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
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
			p.sleep(s.ctx, wait)
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

// sleep waits until something is queued, the budget may have changed, or ctx ends.
func (p *poster) sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.wake:
	case <-timer.C:
	case <-ctx.Done():
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

// pause waits for the delay or until ctx ends.
func pause(ctx context.Context, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

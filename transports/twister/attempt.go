package twister

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// send makes one attempt. An error is one of the daemon, and the post is in the queue again; what is the post's own fault, or the
// budget's, is dealt with here.
func (p *poster) send(ctx context.Context, w *waiting) error {
	k, err := p.reserve()
	if err != nil {
		p.again(w, err)
		return err
	}
	text := w.text(k)
	if text == "" {
		w.done(-1, nil)
		return nil
	}
	height := p.daemon.height()
	var sent rpc.Post
	if w.to == "" {
		sent, err = p.client.PublicPost(ctx, p.config.User, k, text)
	} else {
		sent, err = p.client.DirectMessage(ctx, p.config.User, k, w.to, text)
	}
	switch {
	case err == nil:
		p.accepted(w, k, sent.Height+1)
		w.done(k, nil)
		return nil
	case errors.Is(err, rpc.ErrUnknownOutcome):
		p.use(k)
	case errors.Is(err, rpc.ErrBudgetSpent):
		p.refused(k, height)
		p.again(w, err)
		if height == 0 {
			return err
		}
		return nil
	case ofThePost(err):
		w.done(-1, err)
		return nil
	}
	p.again(w, err)
	return err
}

// ofThePost reports whether no other post need fail as this one did.
func ofThePost(err error) bool {
	for _, its := range []error{rpc.ErrNoSuchUser, rpc.ErrNoSuchGroup, rpc.ErrTooLong, rpc.ErrInvalidText, rpc.ErrBadValue} {
		if errors.Is(err, its) {
			return true
		}
	}
	return false
}

// again puts a post back at the head of its priority.
func (p *poster) again(w *waiting, err error) {
	w.failed(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.why = err
	p.queue.unpop(w)
}

// reserve returns the next k once disk knows that it may have been used.
func (p *poster) reserve() (int, error) {
	p.mu.Lock()
	k, now := p.next, time.Now()
	if k < p.reserved {
		p.mu.Unlock()
		return k, nil
	}
	if now.Sub(p.at) < strideWithin {
		p.stride = min(2*p.stride, maxStride)
	} else {
		p.stride = 1
	}
	p.at = now
	upTo := k + p.stride
	p.mu.Unlock()
	return k, p.save(upTo)
}

// save keeps that all ks below next may have been used. Only the goroutine of run calls it.
func (p *poster) save(next int) error {
	p.mu.Lock()
	state := posterState{next, p.posted, p.funds.bounds}
	same := state == p.kept
	p.mu.Unlock()
	if same {
		return nil
	}
	if err := saveState(p.path, state); err != nil {
		return fmt.Errorf("reserve posts: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept, p.reserved = state, next
	return nil
}

// use counts a k as used: it may have been.
func (p *poster) use(k int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = max(p.next, k+1)
}

// saw takes in a k that was used for certain, also by other means.
func (p *poster) saw(k int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.posted = max(p.next, k+1), max(p.posted, k)
}

func (p *poster) accepted(w *waiting, k, height int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.posted(w)
	p.next, p.posted = max(p.next, k+1), max(p.posted, k)
	p.funds.block(height, time.Now())
	p.funds.accept(max(height, p.funds.height()), k, time.Now())
	p.why = nil
}

func (p *poster) refused(k, height int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !errors.Is(p.why, rpc.ErrBudgetSpent) {
		p.log.Info("twister posts of this user are spent, waiting for blocks", "k", k, "height", height)
	}
	p.funds.refuse(height, k)
}

package twister

import (
	"errors"
	"fmt"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// The poster reserves ks on disk before it uses them: one at a time while it posts seldom, and up to maxStride when it posts all the
// time. A crash wastes what was reserved and not used; a close does not.
const (
	maxStride    = 16
	strideWithin = time.Second
)

// posterState is what the poster keeps on disk.
type posterState struct {
	Next   int    `json:"next"` // no k from here on was ever used
	Last   int    `json:"last"` // k of the last post for certain, -1 if none: those up to Next may only have been reserved
	Bounds bounds `json:"registered"`
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

// registered takes in the height at which this node has registered the user.
func (p *poster) registered(height int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.funds.registered(height)
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

func (p *poster) setSending(sending bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sending = sending
}

// found is saw, and reports whether the k cannot be of this node's posts. It is told of what the daemon has in a session.
func (p *poster) found(k int) (others bool) {
	p.mu.Lock()
	others = k > p.next || k == p.next && !p.sending
	p.mu.Unlock()
	p.saw(k)
	return others
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

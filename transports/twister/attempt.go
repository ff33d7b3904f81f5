package twister

import (
	"context"
	"errors"

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
	p.setSending(true)
	defer p.setSending(false)
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
	for _, its := range []error{rpc.ErrNoSuchUser, rpc.ErrTooLong, rpc.ErrInvalidText, rpc.ErrBadValue} {
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

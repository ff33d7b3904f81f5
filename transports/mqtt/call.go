package mqtt

import (
	"context"
	"fmt"
)

// Refusal is the error of a Publish whose broker has taken all messages but these, and will never take these.
type Refusal struct {
	UUIDs  []string
	Reason string
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%d messages refused: %s", len(r.UUIDs), r.Reason)
}

// Refused returns which messages, and why.
func (r *Refusal) Refused() (uuids []string, reason string) { return r.UUIDs, r.Reason }

// call is one Publish: done is closed when the broker has completed all of its messages.
type call struct {
	pending int      // messages, and one for the caller while it still adds; guarded by outgoing.mu
	left    bool     // the caller has gone before that; guarded by outgoing.mu
	refused []string // UUIDs of messages that were given up; readable when done is closed
	done    chan struct{}
}

func newCall() *call { return &call{pending: 1, done: make(chan struct{})} }

// finish takes one off what the call waits for, with outgoing.mu held.
func (c *call) finish() {
	if c.pending--; c.pending == 0 {
		close(c.done)
	}
}

// await waits until the broker has completed all messages of the call.
func (o *outgoing) await(ctx context.Context, c *call) error {
	o.mu.Lock()
	c.finish()
	o.mu.Unlock()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return o.leave(c, context.Cause(ctx))
	case <-o.ended:
		return o.leave(c, ErrClosed)
	}
}

// leave ends the wait for the call with the reason, unless it was completed in the same moment.
func (o *outgoing) leave(c *call, reason error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c.pending == 0 {
		return nil
	}
	c.left = true
	return reason
}

// close ends every wait with [ErrClosed].
func (o *outgoing) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end()
}

// stopWaiting does what close does when there is no link, now or later.
func (o *outgoing) stopWaiting() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hasty = true
	if o.link == nil {
		o.end()
	}
}

func (o *outgoing) end() {
	if o.closed {
		return
	}
	o.closed = true
	close(o.ended)
	o.change.Broadcast()
}

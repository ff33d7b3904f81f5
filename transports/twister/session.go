package twister

import (
	"context"
	"fmt"
	"time"
)

// session is a stretch of time in which the daemon is ready.
type session struct {
	ctx      context.Context // ends with it
	end      context.CancelFunc
	lastHave int // k of the last post of the own user that was known of when it began, -1 if none
	begun    time.Time
	have     int // the greatest that the daemon has had since, -1 if none; of run alone
}

// await returns the session as soon as there is one.
func (d *daemon) await(ctx context.Context) (*session, error) {
	for {
		d.mu.Lock()
		s, changed := d.session, d.changed
		d.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("twisterd is not ready: %w", ctx.Err())
		case s != nil:
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (d *daemon) begin(ctx context.Context, last, have int) {
	d.start.done(d.log)
	s := &session{lastHave: last, have: have, begun: time.Now()}
	s.ctx, s.end = context.WithCancel(ctx)
	d.status.connected()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session = s
	d.announce()
}

func (d *daemon) endSession() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session != nil {
		d.session.end()
		d.session = nil
		d.announce()
	}
}

// announce wakes whoever waits. It is called under the lock.
func (d *daemon) announce() {
	close(d.changed)
	d.changed = make(chan struct{})
}

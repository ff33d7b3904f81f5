package twister

import "time"

// debt is the receipt that is owed to a sender. It is guarded by the origin's lock.
type debt struct {
	delay  time.Duration // how long a receipt waits for a frame to ride on
	poll   time.Duration // and while posts are plenty
	resend time.Duration // how long senders wait for receipts

	owed     bool
	full     bool // with a view, for the sender cannot know what is missing
	deadline time.Time
	queued   bool

	repeats  time.Duration // between receipts for what was received before; doubles
	repeated time.Time
	plaint   time.Duration // between receipts that say what is missing; doubles
	plainted time.Time
	asked    time.Time // when the sender last asked and was heard
}

func (d *debt) reset() {
	d.owed, d.full, d.repeats, d.plaint = false, false, 0, 0
}

// incur owes a receipt for a frame that was taken.
func (d *debt) incur(now time.Time) {
	if !d.owed {
		d.owed, d.deadline = true, now.Add(d.delay)
	}
	d.repeats = 0
}

// again owes one more for a frame that comes although it was taken: not one for each, should they never end.
func (d *debt) again(now time.Time) {
	if d.owed || now.Sub(d.repeated) < d.repeats {
		return
	}
	d.owed, d.deadline = true, now.Add(d.delay)
	d.repeated = now
	d.repeats = min(max(2*d.repeats, d.resend/4), maxPatience)
}

// ask owes a receipt that says what is missing to a sender who asks for one, but not one for each time.
func (d *debt) ask(now time.Time) {
	if now.Sub(d.asked) < d.resend/4 {
		return
	}
	d.asked = now
	if !d.owed {
		d.deadline = now.Add(d.delay)
	}
	d.owed, d.full = true, true
}

// whole says that a frame has become whole: what was missing has come.
func (d *debt) whole() { d.plaint = 0 }

// complain owes a receipt that says what is missing, if it has been so for long enough.
func (d *debt) complain(since, now time.Time) {
	wait := max(d.plaint, d.resend/2)
	if since.IsZero() || now.Sub(since) < wait || now.Sub(d.plainted) < wait {
		return
	}
	d.owed, d.full, d.deadline = true, true, now
	d.plainted = now
	d.plaint = min(2*wait, maxPatience)
}

// due reports whether the receipt that is owed has waited for long enough.
func (d *debt) due(now time.Time, plenty bool) bool {
	deadline := d.deadline
	if plenty {
		deadline = deadline.Add(min(d.poll-d.delay, 0))
	}
	return d.owed && !d.queued && !now.Before(deadline)
}

// paid says that a receipt was posted.
func (d *debt) paid(full bool) {
	if full || !d.full {
		d.owed, d.full = false, false
	}
}

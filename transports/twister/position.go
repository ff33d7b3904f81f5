package twister

import (
	"slices"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// position is how far an origin has come, as it is kept on disk.
type position struct {
	Epoch uint32   `json:"epoch"`
	Taken int      `json:"taken"`          // frames of that epoch
	Floor int      `json:"floor"`          // ks below, and those of the runs, are done with
	Runs  [][2]int `json:"runs"`           // first k and count
	Owed  bool     `json:"owed,omitempty"` // a receipt was, of which the sender would else hear only when he asks
}

// restore goes on from a position, before anything is taken in.
func (o *origin) restore(p position) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.epoch, o.taken, o.saved, o.next = p.Epoch, max(p.Taken, 0), max(p.Taken, 0), max(p.Taken, 0)+1
	o.done.restore(p.Floor, p.Runs)
	if p.Owed {
		o.debt.owed, o.debt.deadline = true, time.Now() // it has waited
	}
}

// position returns the position to keep, and whether it has changed. Once it is kept, kept says so.
func (o *origin) position() (position, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := position{Epoch: o.epoch, Taken: o.taken, Floor: o.done.floor, Runs: o.done.runs(), Owed: o.debt.owed}
	changed := o.dirty
	o.dirty = false
	return p, changed
}

// kept says whether a position is on disk. Receipts promise only what is.
func (o *origin) kept(p position, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !ok:
		o.dirty = true
	case p.Epoch == o.epoch:
		o.saved = max(o.saved, p.Taken)
	}
}

// ride returns the receipt that is due, nil if none is.
func (o *origin) ride() *receipt {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.debt.owed || o.saved == 0 {
		return nil
	}
	return &receipt{epoch: o.epoch, number: o.saved}
}

// rode says that a receipt was posted.
func (o *origin) rode(r *receipt, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ok && r.epoch == o.epoch && r.number == o.taken {
		o.debt.paid(r.view != nil)
		o.dirty = true
	}
}

// receipt makes the post of a receipt that has waited long enough, which is less while posts are plenty, and returns nil if none has. It is
// posted once at a time.
func (o *origin) receipt(now time.Time, plenty bool) (text func(k int) string, done func(k int, err error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.receipts {
		o.debt.complain(o.since, now)
	}
	if !o.debt.due(now, plenty) || o.epoch == 0 {
		return nil, nil
	}
	o.debt.queued = true
	var sent *receipt
	text = func(k int) string {
		if sent = o.statement(); sent == nil {
			return ""
		}
		return (&header{k: k, receipt: sent}).text()
	}
	done = func(k int, _ error) {
		o.mu.Lock()
		o.debt.queued = false
		if k < 0 && o.debt.owed { // refused, or there was nothing on disk yet
			o.debt.deadline = time.Now().Add(o.debt.delay)
		}
		o.mu.Unlock()
		if k >= 0 {
			o.rode(sent, true)
		}
	}
	return text, done
}

// statement returns a receipt that says all that is known, nil if none is owed any more: it may have ridden on a frame meanwhile.
func (o *origin) statement() *receipt {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.debt.owed {
		return nil
	}
	v := &view{seen: max(o.seen.highest(), 0)}
	for _, it := range o.ready { // whole, and not acknowledged
		if it.epoch == o.epoch && it.number > o.saved {
			v.frames = append(v.frames, partial{number: it.number})
		}
	}
	for number, a := range o.frames {
		v.frames = append(v.frames, partial{number: number, have: a.bits()})
	}
	for number := o.saved + 1; number <= min(o.taken, o.saved+maxAhead); number++ { // acknowledged, and not on disk; taken is as the sender says
		v.frames = append(v.frames, partial{number: number})
	}
	slices.SortFunc(v.frames, func(a, b partial) int { return a.number - b.number })
	v.frames = slices.CompactFunc(v.frames, func(a, b partial) bool { return a.number == b.number })
	v.frames = v.frames[:min(len(v.frames), maxAhead)]
	return &receipt{epoch: o.epoch, number: o.saved, view: v}
}

// expire drops frames of which nothing has come for too long. What is missing of a sender who waits for no receipts is given up
// so that the rest goes on.
func (o *origin) expire(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	whole := 0
	for number, a := range o.frames {
		switch {
		case a.missing > 0 && now.Sub(a.touched) > partialFor:
			o.status.dropped(dropExpired, 1)
			o.held -= a.bytes
			o.settleK(a.ks...)
			delete(o.frames, number)
		case a.missing == 0 && !a.receipt && (whole == 0 || number < whole):
			whole = number
		}
	}
	if whole > 0 && !o.since.IsZero() && now.Sub(o.since) > o.patience {
		o.skip(whole, true)
	}
	o.missed(now)
}

// passConfirmed goes on to where the sender stands by his newest message of a whole list: he has receipts of all before it, of which this side
// knows nothing any more if it has lost its positions.
func (o *origin) passConfirmed(list []rpc.Message) {
	newest := &piece{}
	for _, m := range list {
		if m.FromMe || m.From != o.user || !isPiece(m.Text) {
			continue
		}
		h, err := parsePiece(m.Text)
		if err != nil || h.k != m.K || h.piece == nil || h.piece.unreceipted {
			continue
		}
		if p := h.piece; p.epoch > newest.epoch || p.epoch == newest.epoch && p.number-p.back > newest.number-newest.back {
			newest = p
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if newest.epoch < max(o.epoch, 1) {
		return
	}
	if newest.epoch > o.epoch {
		o.begin(newest.epoch)
	}
	o.skip(newest.number-newest.back, false)
}

// read takes in a message of the daemon's list that was not looked at before, and reports false if there is no room for it now.
func (o *origin) read(m rpc.Message, now time.Time, receipt func(*receipt, time.Time) bool) bool {
	if !isPiece(m.Text) {
		return o.takeForeign(m)
	}
	h, err := parsePiece(m.Text)
	if err != nil || h.k != m.K || h.receipt != nil && !receipt(h.receipt, now) {
		o.status.dropped(dropMalformed, 1)
		o.ignore(m.K)
		return true
	}
	if h.piece == nil {
		o.ignore(m.K)
		return true
	}
	o.take(h.piece, m.K, now)
	return true
}

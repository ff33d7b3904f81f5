package twister

import (
	"math"
	"slices"
	"time"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

// tick posts again what is due.
func (o *outbox) tick(now time.Time) {
	o.mu.Lock()
	var jobs []job
	for i, f := range o.frames {
		switch {
		case f.queued > 0 || now.Before(f.due):
		case slices.ContainsFunc(f.pieces, func(p outPiece) bool { return p.k < 0 && !p.had }): // refused
			jobs = append(jobs, o.queue(f, func(p outPiece) bool { return p.k < 0 })...)
		case i == 0:
			jobs = append(jobs, o.ask(f))
		}
	}
	o.mu.Unlock()
	o.start(jobs)
}

// ask queues one piece of a frame, of those that the recipient may lack, which asks him what he has.
func (o *outbox) ask(f *outFrame) job {
	i := max(0, slices.IndexFunc(f.pieces, func(p outPiece) bool { return !p.had }))
	f.pieces[i].had, f.pieces[i].queued = false, true
	f.queued++
	return job{frame: f, index: i, asks: true}
}

// receive takes in a receipt, and reports whether it can be one of these frames.
func (o *outbox) receive(r *receipt, now time.Time) bool {
	o.mu.Lock()
	switch {
	case r.epoch < o.epoch: // of an earlier start: late
		o.mu.Unlock()
		return true
	case r.epoch > o.epoch && r.epoch < math.MaxUint32-1 && r.number > 0:
		var jobs []job
		if now.Sub(o.begun) >= o.resend { // not for each that comes: all is posted again
			o.begun = now
			jobs = o.begin(epochFrom(r.epoch+1, o.from, o.to))
		}
		o.mu.Unlock()
		o.start(jobs)
		return true
	case r.epoch > o.epoch, r.number >= o.next:
		o.mu.Unlock()
		return false
	}
	for len(o.frames) > 0 && o.frames[0].number != 0 && o.frames[0].number <= r.number {
		o.confirm(o.frames[0])
	}
	var jobs []job
	if r.view != nil {
		jobs = o.look(r.view, now)
	}
	o.mu.Unlock()
	o.start(jobs)
	return true
}

// begin starts anew in an epoch: the recipient remembers a start that this side has forgotten, and takes nothing of before it.
func (o *outbox) begin(epoch uint32) []job {
	o.epoch, o.next = epoch, 1
	var jobs []job
	for _, f := range o.frames {
		f.number = 0
		for i := range f.pieces {
			f.pieces[i].k, f.pieces[i].had = -1, false
		}
		jobs = append(jobs, o.queue(f, func(outPiece) bool { return true })...)
	}
	return jobs
}

// look queues what the recipient lacks although he has seen later posts. What was posted just now may be on its way.
func (o *outbox) look(v *view, now time.Time) []job {
	var jobs []job
	for _, f := range o.frames {
		if f.number == 0 {
			break
		}
		have := partial{have: []byte{}}
		if i := slices.IndexFunc(v.frames, func(p partial) bool { return p.number == f.number }); i >= 0 {
			have = v.frames[i]
		}
		for i := range f.pieces {
			f.pieces[i].had = have.has(i)
		}
		jobs = append(jobs, o.queue(f, func(p outPiece) bool { return p.k >= 0 && p.k < v.seen && now.Sub(p.at) >= o.resend/4 })...)
	}
	return jobs
}

// lost posts again what the own daemon does not have any more.
func (o *outbox) lost(status rpc.TorrentStatus) {
	o.mu.Lock()
	var jobs []job
	for _, f := range o.frames {
		jobs = append(jobs, o.queue(f, func(p outPiece) bool {
			return p.k >= 0 && (p.k >= len(status.Bitfield) || status.Bitfield[p.k] != '1')
		})...)
	}
	o.mu.Unlock()
	o.start(jobs)
}

package twister

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// assembly is the pieces of a frame.
type assembly struct {
	pieces  [][]byte
	missing int
	bytes   int
	ks      []int
	uuid    string
	receipt bool
	touched time.Time
}

// skip goes on to the first frame that the sender still waits for. He has receipts of those before, from a time that this side has
// forgotten; or he waits for none, and then they are lost.
func (o *origin) skip(first int, unreceipted bool) {
	if first <= o.next {
		return
	}
	for number, a := range o.frames {
		if number < first {
			o.held -= a.bytes
			o.settleK(a.ks...)
			delete(o.frames, number)
		}
	}
	if unreceipted {
		o.status.dropped(dropLost, first-o.next)
	}
	o.next = first
	if len(o.ready) == 0 {
		o.taken = first - 1
	}
	o.dirty = true
	o.advance()
}

// keep puts a piece to the others of its frame.
func (o *origin) keep(p *piece, k int, now time.Time) {
	a := o.frames[p.number]
	if a == nil {
		if len(o.frames) >= 2*maxAhead {
			o.drop(dropTooMany, k)
			return
		}
		a = &assembly{pieces: make([][]byte, p.count), missing: p.count, receipt: !p.unreceipted}
	}
	switch {
	case len(a.pieces) != p.count:
		o.drop(dropMalformed, k)
		return
	case a.pieces[p.index] != nil:
		if len(a.ks) < 4*p.count {
			a.ks = append(a.ks, k)
		}
		return
	case o.held+len(p.data) > maxHeld:
		o.drop(dropTooMany, k)
		return
	}
	o.frames[p.number] = a
	a.pieces[p.index] = append(make([]byte, 0, len(p.data)), p.data...)
	a.missing--
	a.uuid = cmp.Or(p.uuid, a.uuid)
	a.bytes += len(p.data)
	o.held += len(p.data)
	a.ks, a.touched = append(a.ks, k), now
	if p.number == o.next {
		o.since = now // it makes progress
	}
	o.advance()
}

// advance moves the frames that are whole, in the order of their numbers.
func (o *origin) advance() {
	for {
		a := o.frames[o.next]
		if a == nil || a.missing > 0 {
			return
		}
		delete(o.frames, o.next)
		o.status.bytesIn.Add(uint64(a.bytes))
		o.enqueue(&item{
			payload: slices.Concat(a.pieces...), uuid: cmp.Or(a.uuid, o.name(o.next)), epoch: o.epoch, number: o.next, ks: a.ks, receipt: a.receipt,
		})
		o.next++
		o.since = time.Time{}
		o.debt.whole()
	}
}

// name makes a UUID for a frame that has brought none.
func (o *origin) name(number int) string {
	return o.user + "-" + strconv.FormatUint(uint64(o.epoch), 16) + "-" + strconv.Itoa(number)
}

func (o *origin) enqueue(it *item) {
	o.ready = append(o.ready, it)
	o.changed.up()
}

// missed notes since when the next frame has been missing while there is something of it or behind it.
func (o *origin) missed(now time.Time) {
	switch {
	case len(o.frames) == 0:
		o.since = time.Time{}
	case o.since.IsZero():
		o.since = now
	}
}

// bits returns the bit map of the pieces that are here, nil if all are.
func (a *assembly) bits() []byte {
	if a.missing == 0 {
		return nil
	}
	bits := make([]byte, (len(a.pieces)+7)/8)
	for i, data := range a.pieces {
		if data != nil {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return bits
}

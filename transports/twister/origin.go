package twister

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports/twister/rpc"
)

const (
	// maxHeld bounds in bytes what is kept of one sender's frames: as much as he may have under way, and a quarter more.
	maxHeld = maxAhead * MaxPayload * 5 / 4
	// maxForeign bounds how many messages of other formats wait for the subscriber.
	maxForeign = 256

	partialFor = 72 * time.Hour // how long a frame is kept of which nothing more comes

	maxDone = 2048 // ks remembered over restarts
	maxSeen = 8192 // and in memory
)

// Reasons of what is dropped.
const (
	dropMalformed = "malformed"     // not what Weft writes
	dropTooMany   = "too_many"      // more frames or bytes at a time than a sender may have under way
	dropExpired   = "never_whole"   // pieces of a frame of which the rest has not come
	dropLost      = "never_arrived" // frames that a sender who waits for no receipts counts as delivered
	dropForeign   = "foreign"       // of a format that is not understood
)

// origin is what comes from one sender.
type origin struct {
	user     string
	status   *status
	patience time.Duration                                     // how long a sender waits for a receipt
	foreign  func(from string, m rpc.Message) *message.Message // nil where no other format is understood

	mu       sync.Mutex // guards all that follows
	changed  wake
	epoch    uint32
	receipts bool // the sender waits for them
	taken    int  // frames of the epoch up to here were acknowledged by the subscriber
	ready    []*item
	handed   int               // items of ready that the subscriber has
	next     int               // number of the next frame to become ready
	frames   map[int]*assembly // by number, from next on
	held     int               // bytes of frames and ready
	done     kset              // ks whose message is done with: kept over restarts
	seen     kset              // ks whose message was looked at
	dirty    bool              // position differs from what is on disk
	saved    int               // what taken is on disk, which receipts may say
	since    time.Time         // when the next frame was first missed, while pieces of it or later ones are here

	debt debt
}

// item is a whole frame, or a message of another format, on its way to the subscriber.
type item struct {
	payload  []byte
	metadata message.Metadata // of a foreign message
	uuid     string
	epoch    uint32
	number   int // 0 for a foreign message
	ks       []int
	receipt  bool // the sender waits for one

	frame *message.Message // as the subscriber has it
	end   context.CancelFunc
	acked bool // but a frame before it was not
}

func newOrigin(user string, c Config, st *status) *origin {
	return &origin{
		user: user, status: st, patience: c.ResendAfter, debt: debt{delay: c.ReceiptDelay, poll: c.Poll, resend: c.ResendAfter},
		changed: newWake(), next: 1, frames: map[int]*assembly{},
		done: kset{most: maxDone}, seen: kset{most: maxSeen},
	}
}

// fresh reports whether the post k was not looked at yet.
func (o *origin) fresh(k int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return k >= 0 && !o.seen.has(k) && !o.done.has(k)
}

// settleK says that nothing of the post k is needed any more. It is called under the lock.
func (o *origin) settleK(ks ...int) {
	for _, k := range ks {
		if o.done.add(k) {
			o.dirty = true
		}
	}
}

// ignore is done with a post that brings nothing.
func (o *origin) ignore(k int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.add(k)
	o.settleK(k)
}

// take takes in a piece that came with the post k.
func (o *origin) take(p *piece, k int, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen.add(k)
	if p.epoch < o.epoch { // of before the sender's last start: he has sent it again
		o.settleK(k)
		if p.asks && !p.unreceipted { // or his clock and his folder are of before it: he learns the epoch from a receipt
			o.debt.ask(now)
		}
		return
	}
	if p.epoch > o.epoch {
		o.begin(p.epoch)
	}
	o.receipts = !p.unreceipted
	o.skip(p.number-p.back, p.unreceipted)
	switch {
	case p.number < o.next:
		o.repeated(p, k, now)
	case p.number >= o.next+maxAhead && !p.unreceipted:
		o.drop(dropTooMany, k)
	default:
		o.keep(p, k, now)
	}
	o.missed(now)
	if p.asks && !p.unreceipted {
		o.debt.ask(now)
	}
}

func (o *origin) drop(reason string, k int) {
	o.status.dropped(reason, 1)
	o.settleK(k)
}

// begin forgets the frames of an older epoch: the sender has started anew, and sends again what was not confirmed. Those that the
// subscriber has stay with him.
func (o *origin) begin(epoch uint32) {
	for _, a := range o.frames {
		o.held -= a.bytes
		o.settleK(a.ks...)
	}
	clear(o.frames)
	kept := o.ready[:o.handed]
	for _, it := range o.ready[o.handed:] {
		if it.number == 0 {
			kept = append(kept, it)
			continue
		}
		if it.end != nil {
			it.end()
		}
		o.held -= len(it.payload)
		o.settleK(it.ks...)
	}
	o.ready = kept
	o.epoch, o.taken, o.saved, o.next, o.dirty = epoch, 0, 0, 1, true
	o.debt.reset()
}

// repeated is a piece of a frame that is whole. If it was taken, the sender has not had the receipt.
func (o *origin) repeated(p *piece, k int, now time.Time) {
	if p.number <= o.taken {
		o.settleK(k)
		if !p.unreceipted && !p.asks {
			o.debt.again(now)
		}
		return
	}
	for _, it := range o.ready {
		if it.epoch == p.epoch && it.number == p.number {
			if len(it.ks) < 4*p.count {
				it.ks = append(it.ks, k)
			}
			return
		}
	}
}

// takeForeign takes in a message of another format, and reports false if there is no room for it now.
func (o *origin) takeForeign(sent rpc.Message) bool {
	var m *message.Message
	if o.foreign != nil {
		m = o.foreign(o.user, sent)
	}
	k := sent.K
	o.mu.Lock()
	defer o.mu.Unlock()
	if m == nil {
		o.seen.add(k)
		o.drop(dropForeign, k)
		return true
	}
	if len(o.ready) >= maxForeign || o.held+len(m.Payload) > maxHeld {
		return false
	}
	o.seen.add(k)
	o.held += len(m.Payload)
	o.status.bytesIn.Add(uint64(len(m.Payload)))
	o.enqueue(&item{payload: m.Payload, metadata: m.Metadata, uuid: m.UUID, ks: []int{k}})
	return true
}

// crowded reports whether a message of another format would find no room.
func (o *origin) crowded() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.ready) >= maxForeign/2 || o.held > maxHeld/2
}

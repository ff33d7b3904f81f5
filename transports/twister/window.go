package twister

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

// nackPause is how long a refused frame waits until it is offered again.
const nackPause = 100 * time.Millisecond

// settle is done with what the subscriber has acknowledged, in order, and reports whether he has refused an item: he has
// none from that one on any more, and gets them again.
func (o *origin) settle(now time.Time) (refused bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := 0; i < o.handed && !refused; i++ {
		it := o.ready[i]
		select {
		case <-it.frame.Nacked():
			o.takeBack(i)
			refused = true
		case <-it.frame.Acked():
			it.acked = true
		default:
		}
	}
	for len(o.ready) > 0 && o.ready[0].acked {
		o.finish(o.ready[0], now)
	}
	return refused
}

// takeBack ends the contexts of the items from i on that the subscriber has.
func (o *origin) takeBack(i int) {
	for _, it := range o.ready[i:o.handed] {
		select {
		case <-it.frame.Acked():
			it.acked = true
			it.end()
		default:
			it.end()
			it.frame = nil // its context may be the subscriber's own by now
		}
	}
	o.handed = min(o.handed, i)
}

// finish takes the first item as acknowledged.
func (o *origin) finish(it *item, now time.Time) {
	if it.end != nil {
		it.end()
	}
	o.ready = o.ready[1:]
	o.handed = max(0, o.handed-1)
	o.held -= len(it.payload)
	o.settleK(it.ks...)
	if it.number != 0 && it.epoch == o.epoch {
		o.taken = max(o.taken, it.number)
		if it.receipt {
			o.debt.incur(now)
		}
	}
	o.dirty = true
}

// offer returns the next item to hand out, as a message that lasts as long as ctx, or nil; and what to wait for of the first that
// was.
func (o *origin) offer(ctx context.Context) (m *message.Message, first *message.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.handed > 0 {
		first = o.ready[0].frame
	}
	for i := o.handed; i < len(o.ready) && i < maxAhead; i++ {
		it := o.ready[i]
		if it.acked { // before one that it follows was refused
			o.handed++
			continue
		}
		if it.frame == nil || it.frame.Context().Err() != nil {
			it.frame = message.NewMessage(it.uuid, it.payload)
			for key, value := range it.metadata {
				it.frame.Metadata.Set(key, value)
			}
			it.frame.Metadata.Set(transports.MetaFrom, o.user)
			ctx, it.end = context.WithCancel(ctx)
			it.frame.SetContext(ctx)
		}
		return it.frame, first
	}
	return nil, first
}

// handedOut says that the subscriber has the message that offer has returned.
func (o *origin) handedOut(m *message.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.handed < len(o.ready) && o.ready[o.handed].frame == m {
		o.handed++
	}
}

// leave takes everything back: the subscription has ended.
func (o *origin) leave(now time.Time) {
	o.settle(now)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.takeBack(0)
}

// hand hands items to the subscriber until ctx ends.
func (o *origin) hand(ctx context.Context, out chan<- *message.Message) {
	defer func() { o.leave(time.Now()) }()
	for ctx.Err() == nil {
		if o.settle(time.Now()) {
			pause(ctx, nackPause)
			continue
		}
		m, first := o.offer(ctx)
		var to chan<- *message.Message
		if m != nil {
			to = out
		}
		var acked, nacked <-chan struct{}
		if first != nil {
			acked, nacked = first.Acked(), first.Nacked()
		}
		select {
		case to <- m:
			o.handedOut(m)
		case <-o.changed:
		case <-acked:
		case <-nacked:
		case <-ctx.Done():
		}
	}
}

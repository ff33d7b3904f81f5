package mqtt

import (
	"context"
	"log/slog"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// looseBytes bounds the QoS 0 messages that wait for a blocked consumer; the oldest are dropped.
const looseBytes = 16 << 20

// item is one delivery in the hands of one consumer, and the context of its message: that ends with the Ack, the Nack or
// the subscription. It is made of one allocation, for a context that hardly any consumer looks at.
type item struct {
	context.Context // the subscription's
	d               *delivery
	msg             *message.Message // nil while it was not handed out

	mu   sync.Mutex
	done context.Context // made at the first Done or Err
	end  context.CancelFunc
	over bool
}

func newItem(ctx context.Context, d *delivery, msg *message.Message) *item {
	i := &item{Context: ctx, d: d, msg: msg}
	msg.SetContext(i)
	return i
}

func (i *item) own() context.Context {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.done == nil {
		i.done, i.end = context.WithCancel(i.Context)
		if i.over {
			i.end()
		}
	}
	return i.done
}

// Done implements [context.Context].
func (i *item) Done() <-chan struct{} { return i.own().Done() }

// Err implements [context.Context].
func (i *item) Err() error { return i.own().Err() }

func (i *item) cancel() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
	if i.end != nil {
		i.end()
	}
}

// settled reports whether the consumer has acknowledged the message.
func (i *item) settled() bool { return i.msg != nil && isClosed(i.msg.Acked()) }

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// consumer is one subscription: a queue that the connection's reader fills, and one goroutine that hands messages out and
// acknowledges them in order.
type consumer struct {
	filters map[string]byte
	in      *incoming
	since   uint64 // how many messages had arrived before it
	marshal Marshaler
	window  int
	log     *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	out    chan *message.Message
	gone   chan struct{} // closed when the consumer is taken down
	ready  chan error    // gets the broker's answer to the subscription, once

	mu       sync.Mutex
	queue    fifo // at QoS 1 and 2: the broker bounds it by its in-flight window
	loose    fifo // at QoS 0
	looseLen int  // bytes
	arrivals uint64
	arrived  chan struct{}

	// Of the goroutine alone:
	held       []*item // handed out and not settled, in order
	fresh      *item   // the next after held
	redeliver  *item   // the head, to be handed out again after its Nack
	recovering int     // how many of held have to be settled, after a Nack, before anything new is handed out
}

func (c *consumer) wants(topic string) bool {
	for filter := range c.filters {
		if filterMatches(filter, topic) {
			return true
		}
	}
	return false
}

// push appends d to the queue and never blocks.
func (c *consumer) push(d *delivery) {
	c.mu.Lock()
	c.arrivals++
	if d.pub.QoS > 0 {
		c.queue.push(d, c.arrivals)
	} else {
		c.loose.push(d, c.arrivals)
		c.looseLen += len(d.pub.Payload) + len(d.pub.Topic)
		for c.looseLen > looseBytes {
			c.popLoose()
			c.in.dropped.Add(1)
		}
	}
	c.mu.Unlock()
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

func (c *consumer) popLoose() *delivery {
	d := c.loose.pop()
	c.looseLen -= len(d.pub.Payload) + len(d.pub.Topic)
	return d
}

// pop returns the oldest delivery, or nil.
func (c *consumer) pop() *delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loose.before(&c.queue) {
		return c.popLoose()
	}
	return c.queue.pop()
}

// run is the consumer's goroutine. It ends with the context and closes the channel it alone sends on.
func (c *consumer) run() {
	defer close(c.out)
	for {
		next := c.next()
		var out chan<- *message.Message
		var msg *message.Message
		if next != nil {
			out, msg = c.out, next.msg
		}
		var acked, nacked <-chan struct{}
		if len(c.held) > 0 && c.redeliver == nil {
			acked, nacked = c.held[0].msg.Acked(), c.held[0].msg.Nacked()
		}
		select {
		case out <- msg:
			c.handedOut(next)
		case <-acked:
			c.settle()
		case <-nacked:
			c.recover()
		case <-c.arrived:
		case <-c.ctx.Done():
			c.settle()
			c.in.remove(c)
			close(c.gone)
			return
		}
	}
}

// next returns what may be handed out now, or nil.
func (c *consumer) next() *item {
	if c.redeliver == nil && len(c.held) > 0 && isClosed(c.held[0].msg.Nacked()) {
		c.recover() // here too: a select would choose at random between the Nack and the next message
	}
	if c.redeliver != nil {
		return c.redeliver
	}
	if c.recovering > 0 || len(c.held) >= c.window {
		return nil
	}
	for c.fresh == nil {
		d := c.pop()
		if d == nil {
			return nil
		}
		c.fresh = c.open(d)
	}
	return c.fresh
}

func (c *consumer) handedOut(i *item) {
	if i == c.redeliver {
		c.redeliver = nil
		return
	}
	c.held = append(c.held, i)
	c.fresh = nil
}

// open makes the Watermill message of d. What cannot be read is counted, settled and nil: it would be as unreadable the
// next time.
func (c *consumer) open(d *delivery) *item {
	msg, err := c.marshal.Unmarshal(d.pub)
	if err != nil {
		c.in.bad.Add(1)
		c.log.Warn("message dropped: not readable", "topic", d.pub.Topic, "error", err)
		c.in.settle(d)
		return nil
	}
	return newItem(c.ctx, d, msg)
}

// settle takes the acknowledged messages off the head of what is held, all at once.
func (c *consumer) settle() {
	var done []*delivery
	for len(c.held) > 0 && c.held[0].settled() {
		c.held[0].cancel()
		done = append(done, c.held[0].d)
		c.held[0] = nil
		c.held = c.held[1:]
	}
	c.recovering = max(0, c.recovering-len(done))
	c.in.settle(done...)
}

// recover makes a new message of the head after its Nack. Until everything that was handed out with it is settled, nothing
// new is: what was nacked is delivered again before any message that was not handed out yet.
func (c *consumer) recover() {
	old := c.held[0]
	old.cancel()
	c.redeliver = newItem(c.ctx, old.d, old.msg.Copy())
	c.held[0] = c.redeliver
	c.recovering = len(c.held)
}

// unsettled returns what the consumer had not acknowledged when its goroutine ended, in order.
func (c *consumer) unsettled() []*item {
	items := c.held
	if c.fresh != nil {
		items = append(items, c.fresh)
	}
	for _, i := range items {
		i.cancel()
	}
	for d := c.pop(); d != nil; d = c.pop() {
		items = append(items, &item{d: d})
	}
	return items
}

// fifo is a queue of deliveries with their places in the order of arrival.
type fifo struct {
	entries []entry
	head    int
}

type entry struct {
	d     *delivery
	place uint64
}

func (f *fifo) push(d *delivery, place uint64) { f.entries = append(f.entries, entry{d, place}) }

func (f *fifo) empty() bool { return f.head == len(f.entries) }

// before reports whether f's first entry came before other's.
func (f *fifo) before(other *fifo) bool {
	return !f.empty() && (other.empty() || f.entries[f.head].place < other.entries[other.head].place)
}

func (f *fifo) pop() *delivery {
	if f.empty() {
		return nil
	}
	d := f.entries[f.head].d
	f.entries[f.head] = entry{}
	f.head++
	if f.head > 1024 && f.head > len(f.entries)/2 || f.empty() {
		n := copy(f.entries, f.entries[f.head:])
		clear(f.entries[n:])
		f.entries, f.head = f.entries[:n], 0
	}
	return d
}

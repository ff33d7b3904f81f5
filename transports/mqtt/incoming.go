package mqtt

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// linger is how long a filter stays subscribed after its consumer has gone, and its messages wait for another: long enough to
	// subscribe again, or to stop in order, without a loss.
	linger = 2 * time.Minute
	// startGrace is how long after Start all messages that no consumer wants wait for one.
	startGrace = 10 * time.Second
)

// delivery is an incoming message until it is acknowledged.
type delivery struct {
	pub   Publication
	link  *link     // the connection that its acknowledgement belongs to
	place uint64    // in the order of arrival
	refs  int       // consumers that have not settled it
	heir  *consumer // the last that took it over from another, or nil
	acked bool      // settled while its connection was gone: acknowledged when the broker sends it again
}

// parked is a message at QoS 1 or 2 that no consumer wants now. What a consumer left unsettled may still be acknowledged.
type parked struct{ *item }

// taken is a message at QoS 2 that was taken over, as it came.
type taken struct {
	link *link
	sum  uint64
}

// incoming is the receiving half of a session.
type incoming struct {
	store Store
	echo  *echoGuard

	mu        sync.Mutex
	arrivals  uint64
	consumers []*consumer
	open      map[uint16]*delivery // at QoS 1 and 2, by packet identifier, from PUBLISH to its acknowledgement
	parked    []parked
	received  int              // at QoS 2, whose PUBREC was sent and whose PUBREL has not come, as far as is known
	taken     map[uint16]taken // of them, those of this run, by packet identifier

	total    atomic.Uint64 // payload bytes that came
	unwanted atomic.Uint64 // messages that no consumer took within linger
	dropped  atomic.Uint64 // messages at QoS 0 that a full consumer lost
	bad      atomic.Uint64 // messages that the marshaler could not read
}

func newIncoming(store Store, echo *echoGuard) *incoming {
	return &incoming{store: store, echo: echo, open: make(map[uint16]*delivery), taken: make(map[uint16]taken)}
}

// reset forgets what the broker's last session was waiting for. The messages themselves stay with their consumers: the
// broker has them no more.
func (in *incoming) reset() {
	in.mu.Lock()
	defer in.mu.Unlock()
	clear(in.open)
	clear(in.taken)
	in.received = 0
}

// published takes a PUBLISH. It runs in the reader of l and does not block.
func (in *incoming) published(l *link, p Publication, dup bool) {
	in.total.Add(uint64(len(p.Payload)))
	in.mu.Lock()
	defer in.mu.Unlock()
	if p.QoS > 0 {
		if (dup || in.isRepeat(l, p)) && in.redelivered(l, p) {
			return
		}
		if p.QoS == 2 && !dup {
			in.forget(p.PacketID) // a first delivery [MQTT-3.3.1-1]: the identifier has been given to a new message
		}
	}
	in.arrivals++
	d := &delivery{pub: p, link: l, place: in.arrivals}
	if p.QoS > 0 {
		in.open[p.PacketID] = d
	}
	if in.echo.took(p) {
		d.refs = 1
		in.done(d)
		return
	}
	for _, c := range in.consumers {
		if c.wants(p.Topic) {
			d.refs++
			c.push(d)
		}
	}
	if d.refs == 0 {
		d.refs = 1
		in.park(&item{d: d})
	}
}

// isRepeat reports whether a PUBLISH without the DUP flag is nonetheless one that the broker sends again after a reconnect, as Mosquitto
// 2.0.11 does with messages that were on their way when the connection broke: same identifier, same content.
func (in *incoming) isRepeat(l *link, p Publication) bool {
	if p.QoS < 2 {
		return false
	}
	if d := in.open[p.PacketID]; d != nil {
		return d.link != l && contentOf(d.pub) == contentOf(p)
	}
	t, ok := in.taken[p.PacketID]
	return ok && t.link != l && t.sum == contentOf(p)
}

var contentSeed = maphash.MakeSeed()

func contentOf(p Publication) uint64 {
	var h maphash.Hash
	h.SetSeed(contentSeed)
	h.WriteString(p.Topic)
	h.WriteByte(0)
	h.Write(p.Payload)
	return h.Sum64()
}

// forget ends what is known of an exchange at QoS 2.
func (in *incoming) forget(id uint16) {
	in.store.Forget(id)
	delete(in.taken, id)
}

// park hands an unsettled message to a consumer that came after it, or keeps it for one to come; at QoS 0 it is dropped.
func (in *incoming) park(i *item) {
	heir := slices.IndexFunc(in.consumers, func(c *consumer) bool { return c.since >= i.d.place && c.wants(i.d.pub.Topic) })
	switch {
	case i.settled() && i.d.pub.QoS == 0:
	case !i.settled() && heir >= 0:
		in.bequeath(i.d, in.consumers[heir])
	case i.d.pub.QoS > 0:
		in.parked = append(in.parked, parked{i})
	default:
		in.unwanted.Add(1)
	}
}

// bequeath gives c what another consumer left unsettled, once, however many left it.
func (in *incoming) bequeath(d *delivery, c *consumer) {
	if d.heir == c {
		in.done(d)
		return
	}
	d.heir = c
	c.push(d)
}

// redelivered handles a PUBLISH that the broker sends again after a reconnect, and reports whether the message is known.
func (in *incoming) redelivered(l *link, p Publication) bool {
	if d := in.open[p.PacketID]; d != nil {
		d.link = l
		if d.acked {
			in.acknowledge(d)
		}
		return true
	}
	if p.QoS == 2 && in.store.Received(p.PacketID) {
		l.write(appendAck(nil, pubrecHeader, p.PacketID), true)
		return true
	}
	return false
}

// released answers a PUBREL [MQTT-4.3.3-2]. The answer waits for others where others are to be expected. One that comes again is
// answered at once: a link that is cut after each PUBREL would else make no progress.
func (in *incoming) released(l *link, id uint16) {
	in.mu.Lock()
	defer in.mu.Unlock()
	pubcomp := appendAck(nil, pubcompHeader, id)
	first := in.store.Received(id)
	if first {
		in.forget(id)
		in.received = max(0, in.received-1)
	}
	if first && in.received+len(in.open) > 0 {
		l.writeLater(pubcomp)
	} else {
		l.write(pubcomp, true)
	}
}

// settle takes note that a consumer is done with the deliveries, and acknowledges those that nobody else waits for.
func (in *incoming) settle(deliveries ...*delivery) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, d := range deliveries {
		in.done(d)
	}
}

func (in *incoming) done(d *delivery) {
	if d.refs--; d.refs > 0 || d.pub.QoS == 0 {
		return
	}
	if in.open[d.pub.PacketID] == d {
		in.acknowledge(d)
	} else if d.pub.QoS == 2 && in.open[d.pub.PacketID] == nil {
		in.forget(d.pub.PacketID) // it belongs to a session that the broker has lost
	}
}

// acknowledge sends PUBACK or PUBREC on the connection that the message came with. An acknowledgement that no connection
// took stays due at QoS 1; at QoS 2 the store remembers it.
func (in *incoming) acknowledge(d *delivery) {
	id := d.pub.PacketID
	if d.pub.QoS == 2 {
		delete(in.open, id)
		in.received++
		in.taken[id] = taken{d.link, contentOf(d.pub)}
		d.link.write(appendAck(nil, pubrecHeader, id), in.store.Receive(id))
		return
	}
	d.acked = !d.link.write(appendAck(nil, pubackHeader, id), false)
	if !d.acked {
		delete(in.open, id)
	}
}

// add makes c a consumer, and hands it what is parked for it.
func (in *incoming) add(c *consumer) {
	in.mu.Lock()
	defer in.mu.Unlock()
	c.since = in.arrivals
	in.consumers = append(in.consumers, c)
	waiting := in.parked
	in.parked = nil
	for _, p := range waiting {
		in.park(p.item)
	}
}

// awaitEnded waits for the consumers whose context has ended, so that what they leave comes to the next one before
// anything newer.
func (in *incoming) awaitEnded() {
	for _, c := range in.list() {
		if c.ctx.Err() != nil {
			<-c.gone
		}
	}
}

// list returns the consumers.
func (in *incoming) list() []*consumer {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.consumers)
}

// wants reports whether a consumer subscribes to the topic.
func (in *incoming) wants(topic string) bool {
	return slices.ContainsFunc(in.list(), func(c *consumer) bool { return c.wants(topic) })
}

// remove ends the deliveries to c and parks what it has not settled.
func (in *incoming) remove(c *consumer) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.consumers = slices.DeleteFunc(in.consumers, func(other *consumer) bool { return other == c })
	for _, i := range c.unsettled() {
		in.park(i)
	}
}

// sweep settles what is parked when its late acknowledgement has come, or when no consumer is expected for its topic any more. It
// returns the topic of a message that was dropped.
func (in *incoming) sweep(expected func(topic string) bool) (dropped string) {
	var done []*delivery
	in.mu.Lock()
	in.parked = slices.DeleteFunc(in.parked, func(p parked) bool {
		switch topic := p.d.pub.Topic; {
		case p.settled():
		case expected(topic):
			return false
		default:
			in.unwanted.Add(1)
			dropped = topic
		}
		done = append(done, p.d)
		return true
	})
	in.mu.Unlock()
	in.settle(done...)
	return dropped
}

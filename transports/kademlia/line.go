package kademlia

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// nackPause is how long a refused frame waits until it is offered again.
const nackPause = 100 * time.Millisecond

// item is a frame on its way to the subscriber.
type item struct {
	uuid    string
	payload []byte
	taken   func() // called once the subscriber has acknowledged this item and all before it

	frame *message.Message // as it was offered, or nil
	end   context.CancelFunc
	acked bool
}

// line holds the frames of one origin in their order until the subscriber has taken them. Several are handed out before the first is
// acknowledged. It outlives subscriptions: the next one begins with the first that was not acknowledged.
type line struct {
	turn chan struct{} // holds a token while a subscription is handed items

	mu      sync.Mutex
	items   []*item
	bytes   int
	handed  int           // items at the front that the subscriber has
	changed chan struct{} // closed and replaced when the line gets longer or shorter
}

func newLine() *line { return &line{turn: make(chan struct{}, 1), changed: make(chan struct{})} }

// change wakes whoever waits for the line to get longer or shorter. It is called under the lock.
func (l *line) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// push puts an item at the end, when there is room. It returns an error only when ctx ends.
func (l *line) push(ctx context.Context, it *item) error {
	for {
		l.mu.Lock()
		if len(l.items) == 0 || len(l.items) < windowFrames && l.bytes+len(it.payload) <= windowBytes {
			l.items = append(l.items, it)
			l.bytes += len(it.payload)
			l.change()
			l.mu.Unlock()
			return nil
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settle is done with what the subscriber has acknowledged, in order, and reports whether he has refused an item: he has none from
// that one on any more, and gets them again.
func (l *line) settle() (refused bool) {
	l.mu.Lock()
	var done []*item
	for i := 0; i < l.handed && !refused; i++ {
		select {
		case <-l.items[i].frame.Nacked():
			l.takeBack(i)
			refused = true
		case <-l.items[i].frame.Acked():
			l.items[i].acked = true
		default:
		}
	}
	for len(l.items) > 0 && l.items[0].acked {
		it := l.items[0]
		l.items[0] = nil
		l.items, l.handed = l.items[1:], max(0, l.handed-1)
		l.bytes -= len(it.payload)
		it.end()
		done = append(done, it)
	}
	if len(done) > 0 {
		l.change()
	}
	l.mu.Unlock()
	for _, it := range done {
		it.taken()
	}
	return refused
}

// takeBack ends the contexts of the items from i on that the subscriber has.
func (l *line) takeBack(i int) {
	for _, it := range l.items[i:l.handed] {
		select {
		case <-it.frame.Acked():
			it.acked = true
		default:
			it.end()
			it.frame = nil
		}
	}
	l.handed = min(l.handed, i)
}

// offer returns the next item to hand out, as a message that lasts as long as ctx, or nil; what to wait for of the first that was; and
// what is closed when the line changes.
func (l *line) offer(ctx context.Context) (next, first *message.Message, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handed > 0 {
		first = l.items[0].frame
	}
	for l.handed < len(l.items) && l.items[l.handed].acked { // before one that it follows was refused
		l.handed++
	}
	if l.handed < len(l.items) {
		it := l.items[l.handed]
		if it.frame == nil {
			it.frame = message.NewMessage(it.uuid, it.payload)
			ctx, it.end = context.WithCancel(ctx)
			it.frame.SetContext(ctx)
		}
		next = it.frame
	}
	return next, first, l.changed
}

// hand hands items to the subscriber until ctx ends, and takes back then what he has not acknowledged. It begins when the subscriber
// before has ended.
func (l *line) hand(ctx context.Context, out chan<- *message.Message) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() {
		defer func() { <-l.turn }()
		l.settle()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.handed < len(l.items) && l.items[l.handed].frame != nil { // offered, and not taken
			l.handed++
		}
		l.takeBack(0)
	}()
	for ctx.Err() == nil {
		if l.settle() {
			pause(ctx, nackPause)
			continue
		}
		next, first, changed := l.offer(ctx)
		var to chan<- *message.Message
		if next != nil {
			to = out
		}
		var acked, nacked <-chan struct{}
		if first != nil {
			acked, nacked = first.Acked(), first.Nacked()
			select {
			case <-nacked:
				continue // and not the next one, though both may be ready
			default:
			}
		}
		select {
		case to <- next:
			l.mu.Lock()
			l.handed++
			l.mu.Unlock()
		case <-changed:
		case <-acked:
		case <-nacked:
		case <-ctx.Done():
		}
	}
}

// awaitIdle waits until the subscription has ended, or ctx.
func (l *line) awaitIdle(ctx context.Context) {
	select {
	case l.turn <- struct{}{}:
		<-l.turn
	case <-ctx.Done():
	}
}

// pause waits, and reports whether ctx is still alive.
func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

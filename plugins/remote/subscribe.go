package remote

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
	"github.com/weft-relay/weft/transports"
)

// window is how many frames may be on their way from the plugin without being taken.
const window = 16

// Subscribe delivers frames over any number of starts of the program, until ctx ends or the transport is closed.
func (t *Transport) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if topic != transports.Inbox && topic != transports.Feed {
		return nil, t.named(fmt.Errorf("unknown topic %q", topic))
	}
	out := make(chan *message.Message)
	err := t.background(ctx, func(ctx context.Context) {
		defer close(out)
		for ctx.Err() == nil {
			l, err := t.wait(ctx)
			if err != nil {
				return
			}
			r := &receiver{transport: t, link: l, topic: topic, out: out, settled: make(chan settlement)}
			if err := r.receive(ctx); err != nil && ctx.Err() == nil {
				t.log.Warn("subscription ended; it begins anew", "topic", topic, "error", t.named(err))
				pause(ctx, reopenAfter)
			}
		}
	})
	return out, err
}

// background runs something until ctx ends or the transport is closed.
func (t *Transport) background(ctx context.Context, run func(context.Context)) error {
	if t.ctx == nil || t.ctx.Err() != nil {
		return t.named(errClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(t.ctx, cancel)
	t.run.Go(func() {
		defer cancel()
		defer stop()
		run(ctx)
	})
	return nil
}

// receiver is one stream of deliveries.
type receiver struct {
	transport *Transport
	link      *link
	topic     string
	out       chan<- *message.Message
	queue     []*delivery // not taken, in order
	settled   chan settlement
	watching  sync.WaitGroup
}

// delivery is a frame that has come.
type delivery struct {
	*pluginv1.SubscribeResponse
	message *message.Message // as it is handed out now; nil before
	handed  bool             // and nothing is known of it yet
	taken   bool
}

// settlement is what has become of a message that was handed out.
type settlement struct {
	*delivery
	message *message.Message
	acked   bool
}

// receive delivers until the stream ends. The error says why.
func (r *receiver) receive(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer r.watching.Wait()
	defer cancel()
	defer context.AfterFunc(r.link.ctx, cancel)()
	stream, err := r.link.client.Subscribe(ctx)
	if err != nil {
		return r.transport.explain(ctx, r.link, err)
	}
	open := &pluginv1.Subscription{Handle: r.link.handle, Topic: r.topic, Window: window}
	_ = stream.Send(&pluginv1.SubscribeRequest{Request: &pluginv1.SubscribeRequest_Open{Open: open}}) // the reader says what is wrong
	arrivals := make(chan *pluginv1.SubscribeResponse)
	var failure error
	r.watching.Go(func() {
		defer close(arrivals)
		for {
			arrival, err := stream.Recv()
			if err != nil {
				failure = err
				return
			}
			select {
			case arrivals <- arrival:
			case <-ctx.Done():
				failure = ctx.Err()
				return
			}
		}
	})
	for number := uint64(0); ; {
		next, out := r.next(ctx)
		select {
		case arrival, ok := <-arrivals:
			if !ok {
				return r.transport.explain(ctx, r.link, failure)
			}
			if number++; arrival.Number != number || len(r.queue) == window {
				return fmt.Errorf("%w: it sent delivery %d where %d was due, of at most %d that are not taken", ErrContract, arrival.Number, number, window)
			}
			r.queue = append(r.queue, &delivery{SubscribeResponse: arrival})
		case out <- next.message:
			next.handed = true
			r.watch(ctx, next)
		case s := <-r.settled:
			if taken := r.settle(s); taken == 0 {
				continue
			} else if stream.Send(&pluginv1.SubscribeRequest{Request: &pluginv1.SubscribeRequest_Taken{Taken: taken}}) != nil {
				for range arrivals { // the stream has ended, and its reader says why
				}
				return r.transport.explain(ctx, r.link, failure)
			}
		}
	}
}

// next returns the first delivery that is to be handed out, and where; that is nil when there is none.
func (r *receiver) next(ctx context.Context) (*delivery, chan<- *message.Message) {
	for _, d := range r.queue {
		if d.handed || d.taken {
			continue
		}
		if d.message == nil {
			uuid := d.Uuid
			if uuid == "" {
				uuid = watermill.NewUUID()
			}
			d.message = message.NewMessage(clip(uuid, maxReason), d.Payload)
			if d.From != "" {
				d.message.Metadata.Set(transports.MetaFrom, clip(d.From, maxReason))
			}
			d.message.SetContext(ctx)
		}
		return d, r.out
	}
	return new(delivery), nil
}

// watch tells what becomes of what was handed out.
func (r *receiver) watch(ctx context.Context, d *delivery) {
	s := settlement{delivery: d, message: d.message}
	r.watching.Go(func() {
		select {
		case <-s.message.Acked():
			s.acked = true
		case <-s.message.Nacked():
		case <-ctx.Done():
			return
		}
		select {
		case r.settled <- s:
		case <-ctx.Done():
		}
	})
}

// settle takes note of what has become of a delivery. It returns the number up to which all are taken now, or 0 where that has not changed.
func (r *receiver) settle(s settlement) (taken uint64) {
	if !s.acked {
		if s.delivery.message == s.message { // else it was handed out anew already
			r.repeat(s.delivery)
		}
		return 0
	}
	s.taken = true
	for len(r.queue) > 0 && r.queue[0].taken {
		taken = r.queue[0].Number
		r.queue = r.queue[1:]
	}
	return taken
}

// repeat has a delivery handed out again, and all after it that are not taken.
func (r *receiver) repeat(from *delivery) {
	for _, d := range r.queue[max(slices.Index(r.queue, from), 0):] {
		if d.handed && !d.taken {
			d.handed, d.message = false, nil
		}
	}
}

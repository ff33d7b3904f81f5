package remote

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
	"github.com/weft-relay/weft/transports"
)

// window is how many frames may be on their way from the plugin without being taken.
const window = 16

// nackPause is how long a refused frame waits before it is handed out again.
const nackPause = 100 * time.Millisecond

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
			r := &receiver{transport: t, link: l, topic: topic, out: out}
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
}

// delivery is a frame that has come.
type delivery struct {
	*pluginv1.SubscribeResponse
	message *message.Message // as it is handed out now; nil before
	handed  bool
	taken   bool
}

// receive delivers until the stream ends. The error says why.
func (r *receiver) receive(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
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
	reading.Go(func() {
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
		taken, refused := r.settle()
		if refused {
			pause(ctx, nackPause)
		}
		if taken > 0 {
			request := &pluginv1.SubscribeRequest{Request: &pluginv1.SubscribeRequest_Taken{Taken: taken}}
			if stream.Send(request) != nil {
				for range arrivals { // the stream has ended, and its reader says why
				}
				return r.transport.explain(ctx, r.link, failure)
			}
		}
		next, out := r.next(ctx)
		acked, nacked := r.first()
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
		case <-acked:
		case <-nacked: // decided before anything else is handed out, which whoever refuses a frame relies on
		}
	}
}

// first returns what tells the fate of the first delivery, where that is handed out.
func (r *receiver) first() (acked, nacked <-chan struct{}) {
	if len(r.queue) > 0 && r.queue[0].handed {
		return r.queue[0].message.Acked(), r.queue[0].message.Nacked()
	}
	return nil, nil
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

// settle takes note of what has become of what is handed out. It returns the number up to which all are taken now, or 0 where that has not
// changed. One that is refused is handed out again, and then all after it that are not taken.
func (r *receiver) settle() (taken uint64, refused bool) {
	for _, d := range r.queue {
		if !d.handed || d.taken {
			continue
		}
		select {
		case <-d.message.Acked():
			d.taken = true
			continue
		case <-d.message.Nacked():
			refused = true
		default:
		}
		if refused {
			d.handed, d.message = false, nil
		}
	}
	for len(r.queue) > 0 && r.queue[0].taken {
		taken = r.queue[0].Number
		r.queue = r.queue[1:]
	}
	return taken, refused
}

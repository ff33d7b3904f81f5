package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

// inboxWindow is how many direct frames are handed out before the first of them is acknowledged, so that the delay of the link does
// not bound what crosses it.
const inboxWindow = 32

var (
	errRefused = errors.New("frame refused by its subscriber")
	errGap     = errors.New("a frame was lost between server and node")
)

// freshInbox makes the inbox's consumer anew for each session. In a work-queue stream, what was not acknowledged is what is
// there: a new consumer begins with the first of it and keeps the order, where an old one would hold back for ackWait what
// had been handed out in the last session, and deliver later frames before it.
func (t *Transport) freshInbox(ctx context.Context, js jetstream.JetStream) (jetstream.Consumer, error) {
	config := t.inbox()
	stream, err := js.Stream(ctx, t.names.direct)
	if err != nil {
		return nil, err
	}
	if stream.CachedInfo().Config.Retention != jetstream.WorkQueuePolicy { // made by its owner, otherwise
		return durable(ctx, js, t.names.direct, config)
	}
	err = stream.DeleteConsumer(ctx, config.Durable)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, err
	}
	config.MaxAckPending = inboxWindow
	return stream.CreateConsumer(ctx, config)
}

// window hands out several frames of one session before the first is acknowledged. They are acknowledged to the server in order.
type window struct {
	out      chan<- *message.Message
	arrivals chan jetstream.Msg
	ended    context.Context
	done     *stored // the last frame that the subscriber acknowledged, in this session or before it
	last     uint64  // place in the stream of the last frame that arrived
	count    uint64  // deliveries of the consumer until then, repetitions included
	handed   int     // frames of the queue that the subscriber has
	queue    []handed
}

// handed is a frame that is not acknowledged yet.
type handed struct {
	msg   jetstream.Msg
	place stored
	frame *message.Message
	end   context.CancelFunc // of the frame's context, after its Ack
}

// windows runs one window a session, one after the other.
type windows struct {
	t       *Transport
	out     chan *message.Message
	current *window
	acked   stored // the last frame that the subscriber acknowledged
	end     context.CancelFunc
	done    sync.WaitGroup
}

// begin ends the last session's window and starts one that lasts as long as ctx. If it ends before, it calls over.
func (w *windows) begin(ctx context.Context, over context.CancelCauseFunc) {
	w.stop()
	ctx, w.end = context.WithCancel(ctx)
	current := &window{out: w.out, arrivals: make(chan jetstream.Msg, inboxWindow), ended: ctx, done: &w.acked}
	w.current = current
	w.done.Go(func() { over(current.run(ctx)) })
}

func (w *windows) stop() {
	if w.end != nil {
		w.end()
	}
	w.done.Wait()
}

// take passes a frame to the session's window.
func (w *windows) take(msg jetstream.Msg) error {
	w.t.status.bytesIn.Add(uint64(len(msg.Data()))) // before the subscriber can have it
	select {
	case w.current.arrivals <- msg:
		return nil
	case <-w.current.ended.Done():
		return context.Cause(w.current.ended)
	}
}

// run ends with ctx, or when a frame is refused: then the next session begins with that one.
func (w *window) run(ctx context.Context) error {
	alive := time.NewTicker(inProgress)
	defer alive.Stop()
	for {
		if err := w.settle(); err != nil {
			return err
		}
		var out chan<- *message.Message
		var offered *message.Message
		if w.handed < len(w.queue) {
			out, offered = w.out, w.queue[w.handed].frame
		}
		var acked, nacked <-chan struct{}
		if w.handed > 0 {
			acked, nacked = w.queue[0].frame.Acked(), w.queue[0].frame.Nacked()
		}
		select {
		case msg := <-w.arrivals:
			if err := w.arrive(ctx, msg); err != nil {
				return err
			}
		case out <- offered:
			w.handed++
		case <-acked:
		case <-nacked:
		case <-alive.C:
			for _, h := range w.queue {
				_ = h.msg.InProgress() // not heard without a connection, and then the frame comes again
			}
		case <-ctx.Done():
			_ = w.settle() // what was acknowledged before the end need not come again
			return context.Cause(ctx)
		}
	}
}

// settle acknowledges what the subscriber has acknowledged, in order, and returns an error if it has refused a frame: nothing
// behind that one may be handed out any more.
func (w *window) settle() error {
	for i := 0; i < w.handed; i++ {
		select {
		case <-w.queue[i].frame.Nacked():
			return errRefused
		case <-w.queue[i].frame.Acked():
			if i == 0 {
				_ = w.queue[0].msg.Ack() // lost only with the session, and then arrive makes up for it
				w.queue[0].end()
				*w.done = w.queue[0].place
				w.queue, w.handed, i = w.queue[1:], w.handed-1, -1
			}
		default:
		}
	}
	return nil
}

// arrive queues a frame, unless the subscriber has acknowledged it and the server did not hear it, or it is in the queue and
// the server has heard nothing of it for ackWait. A stream that was made anew counts anew, but later. What a consumer has delivered
// when its leader dies may never arrive; the next leader goes on behind it, and would deliver it only after ackWait: the count shows it.
func (w *window) arrive(ctx context.Context, msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("message without metadata: %w", err)
	}
	if meta.Sequence.Consumer > w.count+1 {
		return errGap
	}
	w.count = meta.Sequence.Consumer
	place := stored{meta.Sequence.Stream, meta.Timestamp}
	switch {
	case place.seq <= w.done.seq && !place.time.After(w.done.time):
		_ = msg.Ack() // as in settle
		return nil
	case place.seq <= w.last:
		return nil
	}
	w.last = place.seq
	frame := message.NewMessage(uuid(msg.Headers().Get(jetstream.MsgIDHeader)), msg.Data())
	ctx, end := context.WithCancel(ctx)
	frame.SetContext(ctx)
	w.queue = append(w.queue, handed{msg, place, frame, end})
	return nil
}

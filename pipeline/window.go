package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// Limits of what of a lane is in flight at once: frames, and bytes of their messages, unless one frame alone has more.
const (
	maxWindow      = 16
	maxWindowBytes = 4 << 20
)

// promptly is how soon a frame is confirmed where the window is not too wide for the link. A frame waits in the link for those sent
// before it, and must not reach the end of its attempt there.
const promptly = attemptTimeout / 4

// widened returns how many frames may be in flight after one was confirmed that was sent at that time.
func widened(width int, sent time.Time) int {
	if time.Since(sent) < promptly {
		return min(width+1, maxWindow)
	}
	return max(width-1, 1)
}

// flight is a frame that the transport has and has not confirmed, or is about to have.
type flight struct {
	msg  *message.Message
	last uint64 // number of its last message
	size int    // of its messages
	sent time.Time
	done <-chan error
	end  context.CancelFunc // of its attempt
}

// flight returns a batch as a frame that may be in flight with others: whole, and by the lane's own route. What is anything but that,
// nil, goes when nothing is in flight.
func (d *delivery) flight(batch []frame.Message) *flight {
	if d.width < 2 || d.pipelined() == nil {
		return nil
	}
	r, err := d.plan(batch)
	size := sizeOf(batch)
	if err != nil || r.gaps || r.by != d.route || len(r.all) < len(batch) || size > frame.MaxSize {
		return nil
	}
	data, err := d.seal(r.by, batch)
	if limit := r.by.limit(); err != nil || limit > 0 && len(data) > limit {
		return nil
	}
	return &flight{msg: d.frame(&r, batch, data), last: batch[len(batch)-1].Seq, size: size}
}

func sizeOf(batch []frame.Message) (size int) {
	for i := range batch {
		size += lanes.Size(&batch[i])
	}
	return size
}

// pipelined returns the transport of the lane's own route, if that takes frames while earlier ones are in flight.
func (d *delivery) pipelined() transports.Pipelined {
	to, ok := d.route.transport.(transports.Pipelined)
	_, measured := d.route.transport.(transports.Measured)
	if !ok || measured || d.route.bare(d.topic(d.route)) {
		return nil
	}
	return to
}

// window is the frames of a lane that are in flight, in order.
type window struct {
	*delivery
	send   func(*message.Message) <-chan error
	failed context.CancelFunc // called when one has failed
	idle   context.CancelFunc // called when none is left
	landed chan struct{}      // holds a token when there may be room
	queue  chan *flight

	mu     sync.Mutex
	flying []*flight
	bytes  int // of their messages
	width  int // how many there may be
}

// stream sends a frame and what the lane has behind it, without waiting for one before the next. It returns when nothing is in flight:
// there is no more, a frame has failed, or the next one goes alone and is left. What was confirmed has left the lane.
func (d *delivery) stream(ctx context.Context, msg *message.Message, f *flight) (left bool, err error) {
	on, failed := context.WithCancel(msg.Context())
	defer failed()
	flying, idle := context.WithCancel(on)
	defer idle()
	w := &window{delivery: d, failed: failed, idle: idle, landed: make(chan struct{}, 1), queue: make(chan *flight, maxWindow), width: d.width}
	w.send = d.pipelined().Stream(d.topic(d.route))
	outcome := make(chan error, 1)
	go func() { outcome <- w.land() }()
	for reader := msg.Context().Value(batchKey{}).(*laneBatch).reader; f != nil; {
		w.launch(ctx, f)
		w.await(reader.batch.Bytes)
		batch, err := reader.pull(on, flying, false)
		if err != nil {
			break
		}
		f = d.flight(batch)
		left = f == nil
	}
	close(w.queue)
	err = <-outcome
	if d.width = w.width; transports.IsPermanent(err) {
		d.width = 0 // the frame comes again alone, and what cannot be delivered of it is taken out
		return true, nil
	}
	return left, err
}

// launch gives a frame to the transport, when there is room for it.
func (w *window) launch(ctx context.Context, f *flight) {
	w.await(f.size)
	f.sent, f.end = time.Now(), w.address(ctx, w.route, f.msg)
	w.mu.Lock()
	w.flying, w.bytes = append(w.flying, f), w.bytes+f.size
	w.sent.Store(&w.flying[0].sent)
	w.mu.Unlock()
	w.unsure = nil
	f.done = w.send(f.msg)
	w.queue <- f
}

// await waits until there is room for a frame with messages of that size.
func (w *window) await(size int) {
	for !w.hasRoom(size) {
		<-w.landed
	}
}

func (w *window) hasRoom(size int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.flying) == 0 || len(w.flying) < w.width && w.bytes+size <= maxWindowBytes
}

// land waits for what is in flight, one frame after the other, and takes what is confirmed out of the lane. It returns how the first
// frame failed that did: those behind it have not been taken over.
func (w *window) land() (failure error) {
	for f := range w.queue {
		err := <-f.done
		f.end()
		switch {
		case failure != nil:
		case err != nil:
			failure = err
			w.failed()
		default:
			w.lane.Ack(f.last)
			w.count(f.msg.Payload)
		}
		w.release(f)
	}
	return failure
}

// release makes the room of the oldest frame free.
func (w *window) release(f *flight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying, w.bytes, w.width = w.flying[1:], w.bytes-f.size, widened(w.width, f.sent)
	if len(w.flying) > 0 {
		w.sent.Store(&w.flying[0].sent)
	} else {
		w.sent.Store(nil)
		w.idle()
	}
	select {
	case w.landed <- struct{}{}:
	default:
	}
}

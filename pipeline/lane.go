package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
)

// laneReader is a lane as a Watermill subscriber: it hands on one frame at a time, the next only after the last one's Ack. Its handler
// may pull what comes behind that frame itself, and settles that with the lane.
// While a frame is in flight the next one gathers in the lane, so that a route without a period batches by itself when it is
// busy and waits for nothing when it is not. After a Nack the frame's messages go back to the head of the lane: what is too
// old or in the way by then is dropped, and the next attempt takes as many as fit.
type laneReader struct {
	lane   *lanes.Lane
	batch  Batch
	origin string
	epoch  uint64
	hope   func() <-chan struct{} // returns what is closed when an attempt from then on may fare better
	after  time.Time              // when the next frame may follow
}

// batchKey is the context key of a frame's messages, a *laneBatch.
type batchKey struct{}

// laneBatch is the messages of a frame that a laneReader handed on.
type laneBatch struct {
	messages []frame.Message
	reader   *laneReader
	left     bool // messages that were read are in the lane yet: the handler has settled those that have left it
}

// batchOf returns the messages of a frame that a laneReader handed on.
func batchOf(msg *message.Message) []frame.Message {
	if b, ok := msg.Context().Value(batchKey{}).(*laneBatch); ok {
		return b.messages
	}
	return nil
}

// leave says of a frame that a laneReader handed on, before it is acknowledged, that those of its messages, and of what was pulled
// behind it, that the lane still has go with the next one, at once.
func leave(msg *message.Message) { msg.Context().Value(batchKey{}).(*laneBatch).left = true }

// A frame has a price (a signature, a seal, what the network adds), which its messages share. So the frames of a lane keep a
// distance: as long as the last frame was of messages times perMessage, within bounds. A lane that was idle so long sends its
// next message at once; one with more than 1/perMessage messages a second soon sends large frames at the largest distance.
const (
	perMessage  = 300 * time.Microsecond
	minDistance = 2 * time.Millisecond
	maxDistance = 8 * time.Millisecond
)

// distance returns how long after a frame the next one may follow.
func distance(messages int) time.Duration {
	return min(max(time.Duration(messages)*perMessage, minDistance), maxDistance)
}

// Subscribe implements message.Subscriber. The topic is not used: a reader has one lane.
func (r *laneReader) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	r.lane.Rewind()
	out := make(chan *message.Message)
	go func() { // ends with ctx
		defer close(out)
		wait := newBackoff()
		hurry := false // messages of the last frame are left, which have waited already
		for {
			hope := r.hope()
			batch, err := r.pull(ctx, ctx, hurry)
			if err != nil {
				return
			}
			b := &laneBatch{messages: batch, reader: r}
			acked, alive := offer(ctx, out, r.frame(ctx, b))
			hurry = acked && b.left
			switch {
			case hurry:
				r.lane.Rewind()
				wait = newBackoff()
				continue
			case acked:
				r.lane.Ack(batch[len(batch)-1].Seq)
				wait = newBackoff()
				continue
			case !alive:
				return // unacknowledged: the lane keeps them
			}
			r.lane.Rewind()
			if !wait.sleepUntil(ctx, hope) {
				return
			}
		}
	}()
	return out, nil
}

// Close implements message.Subscriber. The lane belongs to its store.
func (r *laneReader) Close() error { return nil }

// pull returns the messages of the next frame, when that may follow the last one. It waits for the first of them until idle ends, a
// context within ctx.
func (r *laneReader) pull(ctx, idle context.Context, hurry bool) ([]frame.Message, error) {
	if !pause(ctx, time.Until(r.after), nil) {
		return nil, ctx.Err()
	}
	batch, err := r.lane.Next(idle, r.batch.Count, r.batch.Bytes)
	if err != nil {
		return nil, err
	}
	if r.batch.Period > 0 && !hurry {
		batch = r.gather(ctx, batch)
	}
	r.after = time.Now().Add(distance(len(batch)))
	return batch, nil
}

// gather adds to the first messages of a frame what comes until the frame is full or its period is over.
func (r *laneReader) gather(ctx context.Context, batch []frame.Message) []frame.Message {
	period, cancel := context.WithTimeout(ctx, r.batch.Period-min(r.batch.Period, max(0, time.Since(batch[0].Time))))
	defer cancel()
	size := 0
	for more := batch; len(more) > 0; {
		size += sizeOf(more)
		if len(batch) >= r.batch.Count || size >= r.batch.Bytes {
			break
		}
		more = r.lane.More(period, r.batch.Count-len(batch), r.batch.Bytes-size)
		batch = append(batch, more...)
	}
	return batch
}

// frame returns the messages as one Watermill message.
func (r *laneReader) frame(ctx context.Context, b *laneBatch) *message.Message {
	msg := message.NewMessage(frameID(r.origin, r.epoch, r.lane, b.messages), nil)
	msg.SetContext(context.WithValue(ctx, batchKey{}, b))
	return msg
}

// frameID names a frame: the same messages sent again have the same name.
func frameID(origin string, epoch uint64, lane *lanes.Lane, batch []frame.Message) string {
	return fmt.Sprintf("%s-%x-%x-%x-%x", origin, lane.ID(), epoch, batch[0].Seq, batch[len(batch)-1].Seq)
}

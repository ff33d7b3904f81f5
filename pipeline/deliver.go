package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// Reasons of the messages that a delivery drops, as the lane counts them.
const (
	reasonUndeliverable = "undeliverable" // the transport refuses it for good
	reasonUnwanted      = "unwanted"      // no filter of the peer matches it, or no route carries it there
)

// delivery is the handler of one lane: it seals the lane's frames and publishes them.
type delivery struct {
	node    string
	id      *identity.Identity
	to      *peer // nil for a broadcast
	route   *route
	others  []*route // the direct routes over other transports
	epoch   uint64
	lane    *lanes.Lane
	drained context.Context // ends when the node stops and has drained: what is still under way then is given up
	dead    *deadLetters
	log     *slog.Logger

	frames atomic.Uint64             // published
	bytes  atomic.Uint64             // of those frames
	sent   atomic.Pointer[time.Time] // when what is on its way now was given to the transport; nil when nothing is
	state  laneState
	unsure *route // the last attempt went by it, and whether it has come through is not known
	width  int    // how many frames may be in flight, where the transport takes several: after a failure, one alone
}

// laneState is what a person wants to know of a lane that does not move.
type laneState struct {
	mu    sync.Mutex
	err   error
	since time.Time
}

// set records an attempt's outcome and reports whether it differs in kind from the last one.
func (s *laneState) set(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := (err == nil) != (s.err == nil)
	s.err = err
	if changed {
		s.since = time.Now()
	}
	return changed
}

func (s *laneState) get() (since time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since, s.err
}

// handle is the deliver-router's handler.
func (d *delivery) handle(msg *message.Message) error {
	ctx := context.WithoutCancel(msg.Context()) // an attempt under way may finish while the router closes
	var left bool
	var err error
	if f := d.flight(batchOf(msg)); f != nil {
		left, err = d.stream(ctx, msg, f)
	} else {
		began := time.Now()
		left, err = d.deliver(ctx, batchOf(msg))
		d.width = widened(d.width, began)
	}
	if err != nil {
		d.width = 0
	}
	if left && err == nil {
		leave(msg)
	}
	d.note(err)
	return err
}

// deliver sends a batch, stretch by stretch, each when the one before it has been taken. It reports whether messages are left.
func (d *delivery) deliver(ctx context.Context, batch []frame.Message) (left bool, err error) {
	for rest := batch; len(rest) > 0 && err == nil && !left; {
		var r stretch
		if r, err = d.plan(rest); err != nil {
			break
		}
		rest = rest[len(r.all):]
		whole := !r.gaps && len(rest) == 0
		if left, err = d.send(ctx, &r); err == nil && !left && !whole {
			d.settle(&r, math.MaxUint64) // a batch that went as a whole its reader acknowledges
		}
	}
	return left, err
}

// send publishes the stretch, or its beginning where that fills the transport's units: then the rest is left in the lane.
func (d *delivery) send(ctx context.Context, r *stretch) (left bool, err error) {
	switch {
	case len(r.wanted) == 0:
		return false, nil
	case r.by.bare(d.topic(r.by)):
		return false, d.publishBare(ctx, r)
	}
	n := d.fill(r)
	if left = n < len(r.wanted); !left {
		return false, d.publish(ctx, r, r.wanted)
	}
	last := r.wanted[n-1].Seq
	if err = d.publish(ctx, r, r.wanted[:n]); err == nil {
		d.settle(r, last)
	}
	return true, err
}

// note keeps an attempt's outcome, and logs when it differs in kind from the last one.
func (d *delivery) note(err error) {
	switch changed := d.state.set(err); {
	case changed && err != nil:
		d.log.Warn("lane waits, its messages are kept", "error", err)
	case changed:
		d.log.Info("lane moves again")
	}
}

// settle takes the messages of the stretch up to a sequence number out of the lane. What is wanted of them has been published.
func (d *delivery) settle(r *stretch, upTo uint64) {
	if !r.gaps && len(r.all) > 0 {
		d.lane.Ack(min(upTo, r.all[len(r.all)-1].Seq))
	}
	for len(r.all) > 0 && r.all[0].Seq <= upTo {
		seq := r.all[0].Seq
		r.all = r.all[1:]
		switch {
		case len(r.wanted) == 0 || r.wanted[0].Seq != seq:
			d.lane.Drop(seq, reasonUnwanted)
		default:
			r.wanted = r.wanted[1:]
			if r.gaps {
				d.lane.Ack(seq)
			}
		}
	}
}

// publish sends messages of the stretch as one frame, or, where that is too large for the transport, as two halves; a message that is
// too large alone goes to the dead letters.
func (d *delivery) publish(ctx context.Context, r *stretch, batch []frame.Message) error {
	if size := lanes.Size(&batch[0]); len(batch) == 1 && size > frame.MaxSize {
		return d.bury(ctx, r, &batch[0], fmt.Errorf("message of %d bytes, a frame holds %d, and no key raises that", size, frame.MaxSize))
	}
	data, err := d.seal(r.by, batch)
	if err != nil {
		return err
	}
	switch err = d.attempt(ctx, r.by, d.frame(r, batch, data)); {
	case err == nil:
		d.count(data)
		return nil
	case !transports.IsPermanent(err):
		return err
	case len(batch) > 1:
		half := len(batch) / 2
		if err := d.publish(ctx, r, batch[:half]); err != nil {
			return err
		}
		return d.publish(ctx, r, batch[half:])
	}
	return d.bury(ctx, r, &batch[0], err)
}

// publishBare sends the stretch message by message. Each leaves the lane when it has been taken, so that those before one that is not
// are not sent again.
func (d *delivery) publishBare(ctx context.Context, r *stretch) error {
	for len(r.wanted) > 0 {
		m := &r.wanted[0]
		msg := message.NewMessage(frameID(d.node, d.epoch, d.lane, r.wanted[:1])+"-bare", m.Payload)
		msg.Metadata[transports.MetaTopic] = m.Topic
		msg.Metadata[transports.MetaQoS] = qosText[min(m.QoS, r.by.QoS, 1)]
		if m.Retain {
			msg.Metadata[transports.MetaRetain] = "1"
		}
		err := d.attempt(ctx, r.by, msg)
		switch {
		case transports.IsPermanent(err):
			err = d.bury(ctx, r, m, err)
		case err == nil:
			d.count(m.Payload)
			d.settle(r, m.Seq)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// count counts what was published.
func (d *delivery) count(data []byte) {
	d.frames.Add(1)
	d.bytes.Add(uint64(len(data)))
}

// bury moves one message of the stretch to the dead letters. All before it has been published.
func (d *delivery) bury(ctx context.Context, r *stretch, m *frame.Message, reason error) error {
	letter := deadLetter{Reason: reason.Error(), Lane: d.lane.Name(), Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, Time: m.Time, Payload: m.Payload}
	if err := d.dead.publish(ctx, letter); err != nil {
		return err
	}
	d.settle(r, m.Seq-1)
	d.lane.Drop(m.Seq, reasonUndeliverable)
	r.all, r.wanted = r.all[1:], r.wanted[1:]
	d.log.Warn("message cannot be delivered, moved to the dead letters", "topic", m.Topic, "bytes", len(m.Payload), "error", reason)
	return nil
}

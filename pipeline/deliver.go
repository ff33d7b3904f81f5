package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// attemptTimeout bounds one attempt to publish a frame, unless the transport is a [transports.Patient]. It is shorter than closeTimeout, so that an attempt that was
// under way when the node was told to stop ends by itself and its outcome is known.
const attemptTimeout = 10 * time.Second

// Reasons of the messages that a delivery drops, as the lane counts them.
const (
	reasonUndeliverable = "undeliverable" // the transport refuses it for good
	reasonUnwanted      = "unwanted"      // no filter of the peer matches it, or no route carries it there
)

var (
	errStranger = errors.New("the peer has not announced yet what it wants")
	errUnseen   = errors.New("the peer's announcement has not come since the start; what it wanted before is sent, the rest waits")
	errNoRoute  = errors.New("the peer is heard of over another transport alone, and no route carries this there; add one")
	errOtherKey = errors.New("what the peer announced last is not signed with the key listed for it, so that it may not be able to read what is sealed with that; if it has a new key, list it with what `weft id` prints there")
	errUnlisted = errors.New("the peer does not list this node yet; give its owner what `weft id` prints here")
)

// patience is how long a message for a peer that is heard of over other transports alone waits for the peer to be heard of over its
// own, when no route carries it there.
const patience = time.Minute

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
	var err error
	left := false
	for rest := batchOf(msg); len(rest) > 0 && err == nil && !left; {
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
	if left && err == nil {
		leave(msg)
	}
	d.note(err)
	return err
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

// stretch is the first messages of a batch, as far as they go the same way.
type stretch struct {
	all    []frame.Message // those that have not left the lane yet
	wanted []frame.Message // of them, those that are published; the peer does not want the others
	gaps   bool            // there are others
	by     *route
}

// plan returns the first stretch of the batch. What was kept before the peer's wishes were known, and what it has ceased to want, is
// not wanted. An error says why nothing can be said of the first message yet.
func (d *delivery) plan(batch []frame.Message) (stretch, error) {
	if d.to == nil {
		return stretch{all: batch, wanted: batch, by: d.route}, nil
	}
	var r stretch
	for i := range batch {
		by, err := d.way(batch[i].Topic)
		if by != nil && by.interests.hasOtherKey(d.to) {
			by, err = nil, errOtherKey
		}
		switch {
		case err != nil && i == 0:
			return r, err
		case err != nil, by != nil && r.by != nil && by != r.by:
			return r, nil
		case by == nil && !r.gaps:
			r.gaps, r.wanted = true, slices.Clone(r.wanted)
		case by == nil:
		case r.gaps:
			r.by, r.wanted = by, append(r.wanted, batch[i])
		default:
			r.by, r.wanted = by, batch[:i+1]
		}
		r.all = batch[:i+1]
	}
	return r, nil
}

// way returns the route by which a message on the topic goes to the peer: this one, unless the peer is heard of over other
// transports alone. It is nil where the peer does not want the message, and an error where that is not known yet.
func (d *delivery) way(topic string) (*route, error) {
	if d.unsure != nil && d.unsure.carries(topic, d.to) {
		return d.unsure, nil // by another route it might come twice
	}
	own := d.route.interests.view.Load()
	switch {
	case own.wantedBy(d.to, topic):
		return d.route, nil
	case own.current(d.to):
		return nil, nil
	}
	return d.detour(own, topic)
}

// detour is way for what the peer has not asked for over the route's own transport. A peer wants the same over all of them.
func (d *delivery) detour(own *view, topic string) (*route, error) {
	wanted, heard := false, time.Time{}
	for _, r := range d.others {
		if r.carries(topic, d.to) {
			return r, nil
		}
		v := r.interests.view.Load()
		wanted = wanted || v.wantedBy(d.to, topic)
		if v.current(d.to) {
			heard = v.seen[d.to.Name]
		}
	}
	prof := own.known[d.to.Name]
	switch {
	case !heard.IsZero() && !wanted:
		return nil, nil
	case prof == nil && wanted && !heard.IsZero() && time.Since(heard) >= patience:
		return nil, nil
	case prof == nil && wanted:
		return nil, errNoRoute
	case prof == nil:
		return nil, errStranger
	case !prof.Listed:
		return nil, errUnlisted
	}
	return nil, errUnseen
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
	if limit := r.by.limit(); limit > 0 && len(data) > limit {
		err = transports.Permanent(tooLarge(r.by, len(data), limit))
	} else {
		err = d.attempt(ctx, r.by, d.frame(r, batch, data))
	}
	switch {
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

// frame returns a sealed frame of messages of the stretch as a Watermill message.
func (d *delivery) frame(r *stretch, batch []frame.Message, data []byte) *message.Message {
	id := frameID(d.node, d.epoch, d.lane, batch)
	if r.gaps {
		id += partID(batch)
	}
	return message.NewMessage(id, data)
}

// tooLarge says that a frame exceeds what the route's transport takes, and what raises that.
func tooLarge(by *route, size, limit int) error {
	cure := ""
	if t, ok := by.transport.(transports.PayloadRaiser); ok {
		cure = "; " + t.RaisePayload()
	}
	return fmt.Errorf("frame of %d bytes, the transport takes %d%s", size, limit, cure)
}

// partID tells a part of a lane's messages from every other with the same ends: the same for the same messages alone.
func partID(part []frame.Message) string {
	h := fnv.New64a()
	for i := range part {
		h.Write(binary.BigEndian.AppendUint64(nil, part[i].Seq))
	}
	return fmt.Sprintf("-%x", h.Sum64())
}

func (d *delivery) seal(by *route, batch []frame.Message) ([]byte, error) {
	capped := batch
	for i := range batch {
		if batch[i].QoS > by.QoS {
			capped = capQoS(batch, by.QoS)
			break
		}
	}
	f := &frame.Frame{Lane: d.lane.Over(by.To), Epoch: d.epoch, Messages: capped}
	switch {
	case d.to == nil:
		return frame.Sign(d.id, d.node, f), nil
	case d.to.sealer == nil:
		return frame.Plain(d.node, f), nil
	}
	return frame.Seal(d.id, d.node, d.to.Name, d.to.sealer, f)
}

func capQoS(batch []frame.Message, maxQoS byte) []frame.Message {
	capped := make([]frame.Message, len(batch))
	for i, m := range batch {
		m.QoS = min(m.QoS, maxQoS)
		capped[i] = m
	}
	return capped
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

// topic returns what the transport of a route calls the lane's destination.
func (d *delivery) topic(by *route) string {
	if d.to == nil {
		return transports.Broadcast
	}
	return transports.Direct(d.to.On(by.To))
}

// bounded returns the context of an attempt: it ends when the attempt has taken as long as the transport may take, or when the node
// has drained.
func (d *delivery) bounded(ctx context.Context, by *route) (context.Context, context.CancelFunc) {
	limit := attemptTimeout
	if p, ok := by.transport.(transports.Patient); ok {
		limit = p.Patience()
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := context.AfterFunc(d.drained, cancel)
	end := func() { ended(); cancel() }
	if limit <= 0 {
		return ctx, end
	}
	ctx, cancelTimer := context.WithTimeout(ctx, limit)
	return ctx, func() { cancelTimer(); end() }
}

// attempt publishes by a route what the lane's destination is to have.
func (d *delivery) attempt(ctx context.Context, by *route, msg *message.Message) error {
	ctx, cancel := d.bounded(ctx, by)
	defer cancel()
	began := time.Now()
	d.sent.Store(&began)
	defer d.sent.Store(nil)
	if p := by.Priority; p != 0 {
		msg.Metadata[transports.MetaPriority] = strconv.Itoa(p)
	}
	msg.SetContext(ctx)
	err := by.transport.Publish(d.topic(by), msg)
	if d.unsure = nil; err != nil && by != d.route && !transports.IsPermanent(err) {
		d.unsure = by
	}
	return err
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

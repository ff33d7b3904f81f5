package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// attemptTimeout bounds one attempt to publish a frame. It is shorter than closeTimeout, so that an attempt that was
// under way when the node was told to stop ends by itself and its outcome is known.
const attemptTimeout = 10 * time.Second

// Reasons of the messages that a delivery drops, as the lane counts them.
const (
	reasonUndeliverable = "undeliverable" // the transport refuses it for good
	reasonUnwanted      = "unwanted"      // no filter of the peer matches it
)

var (
	errStranger = errors.New("the peer has not announced yet what it wants")
	errUnlisted = errors.New("the peer does not list this node yet; give its owner what `weft id` prints here")
)

// delivery is the handler of one lane: it seals the lane's frames and publishes them.
type delivery struct {
	node      string
	id        *identity.Identity
	via       string     // name of the transport
	to        *peer      // nil for a broadcast
	interests *interests // what to wants; nil for a broadcast
	topic     string     // of the transport
	maxQoS    byte
	epoch     uint64
	lane      *lanes.Lane
	limits    lanes.Limits
	drained   context.Context // ends when the node stops and has drained: what is still under way then is given up
	transport message.Publisher
	limit     func() int // largest frame the transport takes, 0 when unknown
	dead      *deadLetters
	log       *slog.Logger

	frames atomic.Uint64 // published
	bytes  atomic.Uint64 // of those frames
	state  laneState
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
	err := d.acquainted()
	if err == nil {
		err = d.publishWanted(ctx, msg.UUID, batchOf(msg))
	}
	d.note(err)
	return err
}

// acquainted returns why it is not known yet what of the lane is wanted, or nil.
func (d *delivery) acquainted() error {
	if d.to == nil {
		return nil
	}
	switch prof := d.interests.of(d.to.Name); {
	case prof == nil:
		return errStranger
	case !prof.Listed:
		return errUnlisted
	}
	return nil
}

// hope is the laneReader's: the peers' wishes have changed.
func (d *delivery) hope() <-chan struct{} {
	if d.interests == nil {
		return nil
	}
	return d.interests.changed()
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

// publishWanted publishes what of the batch the peer wants now and drops the rest: messages that were kept before the peer's
// wishes were known, or that it has ceased to want.
func (d *delivery) publishWanted(ctx context.Context, uuid string, batch []frame.Message) error {
	wanted := d.wanted(batch)
	if len(wanted) == len(batch) {
		return d.publish(ctx, uuid, batch)
	}
	if len(wanted) > 0 {
		uuid = frameID(d.node, d.epoch, d.lane, wanted) + partID(wanted)
		if err := d.publish(ctx, uuid, wanted); err != nil {
			return err
		}
	}
	for i := range batch {
		if len(wanted) > 0 && wanted[0].Seq == batch[i].Seq {
			d.lane.Ack(batch[i].Seq)
			wanted = wanted[1:]
		} else {
			d.lane.Drop(batch[i].Seq, reasonUnwanted)
		}
	}
	return nil
}

// wanted returns the messages of the batch that the peer's filters match, or the batch itself if all are.
func (d *delivery) wanted(batch []frame.Message) []frame.Message {
	if d.to == nil {
		return batch
	}
	wants := d.interests.view.Load().wants
	var few [8]int
	matches := func(m *frame.Message) bool {
		return slices.Contains(wants.AppendMatch(few[:0], m.Topic), d.to.index)
	}
	for i := range batch {
		if matches(&batch[i]) {
			continue
		}
		wanted := slices.Clone(batch[:i])
		for j := i + 1; j < len(batch); j++ {
			if matches(&batch[j]) {
				wanted = append(wanted, batch[j])
			}
		}
		return wanted
	}
	return batch
}

// publish sends the messages as one frame, or, where that is too large for the transport, as two halves; a message that is too
// large alone goes to the dead letters.
func (d *delivery) publish(ctx context.Context, uuid string, batch []frame.Message) error {
	if size := lanes.Size(&batch[0]); len(batch) == 1 && size > frame.MaxSize {
		return d.bury(ctx, &batch[0], fmt.Errorf("message of %d bytes, a frame holds %d", size, frame.MaxSize))
	}
	data, err := d.seal(batch)
	if err != nil {
		return err
	}
	if limit := d.limit(); limit > 0 && len(data) > limit {
		err = transports.Permanent(fmt.Errorf("frame of %d bytes, the transport takes %d", len(data), limit))
	} else {
		err = d.attempt(ctx, uuid, data)
	}
	switch {
	case err == nil:
		d.frames.Add(1)
		d.bytes.Add(uint64(len(data)))
		return nil
	case !transports.IsPermanent(err):
		return err
	case len(batch) > 1:
		half := len(batch) / 2
		if err := d.publish(ctx, frameID(d.node, d.epoch, d.lane, batch[:half]), batch[:half]); err != nil {
			return err
		}
		return d.publish(ctx, frameID(d.node, d.epoch, d.lane, batch[half:]), batch[half:])
	}
	return d.bury(ctx, &batch[0], err)
}

// partID tells a part of a lane's messages from every other with the same ends: the same for the same messages alone.
func partID(part []frame.Message) string {
	h := fnv.New64a()
	for i := range part {
		h.Write(binary.BigEndian.AppendUint64(nil, part[i].Seq))
	}
	return fmt.Sprintf("-%x", h.Sum64())
}

func (d *delivery) seal(batch []frame.Message) ([]byte, error) {
	capped := batch
	for i := range batch {
		if batch[i].QoS > d.maxQoS {
			capped = capQoS(batch, d.maxQoS)
			break
		}
	}
	f := &frame.Frame{Lane: d.lane.ID(), Epoch: d.epoch, Messages: capped}
	if d.to == nil {
		return frame.Sign(d.id, d.node, f), nil
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

func (d *delivery) attempt(ctx context.Context, uuid string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	defer context.AfterFunc(d.drained, cancel)()
	msg := message.NewMessage(uuid, data)
	msg.SetContext(ctx)
	return d.transport.Publish(d.topic, msg)
}

// bury moves one message to the dead letters. All before it in its batch has been published.
func (d *delivery) bury(ctx context.Context, m *frame.Message, reason error) error {
	if err := d.dead.publish(ctx, deadLetter{Reason: reason.Error(), Lane: d.lane.Name(), Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, Time: m.Time, Payload: m.Payload}); err != nil {
		return err
	}
	d.lane.Ack(m.Seq - 1)
	d.lane.Drop(m.Seq, reasonUndeliverable)
	d.log.Warn("message cannot be delivered, moved to the dead letters", "topic", m.Topic, "bytes", len(m.Payload), "error", reason)
	return nil
}

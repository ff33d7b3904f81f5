package pipeline

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/transports"
)

// attemptTimeout bounds one attempt to publish a frame, unless the transport is a [transports.Patient]. It is shorter than
// closeTimeout, so that an attempt that was under way when the node was told to stop ends by itself and its outcome is known.
const attemptTimeout = 10 * time.Second

// frame returns a sealed frame of messages of the stretch as a Watermill message.
func (d *delivery) frame(r *stretch, batch []frame.Message, data []byte) *message.Message {
	id := frameID(d.node, d.epoch, d.lane, batch)
	if r.gaps {
		id += partID(batch)
	}
	return message.NewMessage(id, data)
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

// address readies what is given to the transport of a route: its attempt lasts until end is called at the most.
func (d *delivery) address(ctx context.Context, by *route, msg *message.Message) (end context.CancelFunc) {
	ctx, end = d.bounded(ctx, by)
	if p := by.Priority; p != 0 {
		msg.Metadata[transports.MetaPriority] = strconv.Itoa(p)
	}
	msg.SetContext(ctx)
	return end
}

// attempt publishes by a route what the lane's destination is to have.
func (d *delivery) attempt(ctx context.Context, by *route, msg *message.Message) error {
	defer d.address(ctx, by, msg)()
	began := time.Now()
	d.sent.Store(&began)
	defer d.sent.Store(nil)
	err := by.transport.Publish(d.topic(by), msg)
	if d.unsure = nil; err != nil && by != d.route && !transports.IsPermanent(err) {
		d.unsure = by
	}
	return err
}

package twister

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// Publish posts the frames. To a peer, it returns when his receipts cover all of them, or, without receipts, when the daemon has taken
// them. When a frame's context ends before, the frame goes on being under way, and a later Publish of the same UUID waits for it. A
// frame of more than [MaxPayload] bytes, and a topic that is none, are [transports.Permanent] errors.
func (t *Transport) Publish(topic string, frames ...*message.Message) error {
	user, direct := transports.DirectPeer(topic)
	if topic != transports.Broadcast && (!direct || !rpc.ValidName(user)) {
		return transports.Permanent(fmt.Errorf("publish topic %q: neither %q nor the user of a peer: %w", topic, transports.Broadcast, rpc.ErrBadName))
	}
	if err := t.enter(); err != nil {
		return err
	}
	defer t.running.Done()
	if !direct {
		return t.publishFeed(frames)
	}
	if t.Bare(topic) {
		return t.publishSeed(user, frames)
	}
	p := t.peers[user]
	if p == nil {
		return fmt.Errorf("publish to %q: not one of this node's peers, so that its receipts are not read: list it", user)
	}
	for _, frame := range frames {
		if len(frame.Payload) > MaxPayload {
			return transports.Permanent(fmt.Errorf("frame of %d bytes, the transport takes %d", len(frame.Payload), MaxPayload))
		}
	}
	waits := make([]func() error, 0, len(frames))
	for _, frame := range frames {
		wait, end := t.publish(p, frame)
		defer end()
		waits = append(waits, wait)
	}
	for _, wait := range waits {
		if err := wait(); err != nil {
			return fmt.Errorf("publish to %q: %w", user, err)
		}
	}
	return nil
}

// publish puts a frame under way. It returns what waits for it, and what is called in the end.
func (t *Transport) publish(p *peer, frame *message.Message) (wait func() error, end func()) {
	ctx, cancel := context.WithCancel(frame.Context())
	unhook := context.AfterFunc(t.ctx, cancel)
	confirmed := p.outbox.publish(ctx, frame.UUID, frame.Payload, priority(frame))
	return func() error {
		err := confirmed()
		switch {
		case err == nil:
			return nil
		case t.ctx.Err() != nil:
			return ErrClosed
		case frame.Context().Err() != nil:
			return errors.Join(err, t.poster.trouble())
		}
		return err
	}, func() { unhook(); cancel() }
}

func priority(frame *message.Message) int {
	n, _ := strconv.Atoi(frame.Metadata.Get(transports.MetaPriority))
	return n
}

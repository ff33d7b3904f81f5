package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-relay/weft/transports"
)

// publishTimeout bounds a publish whose context has no deadline.
const publishTimeout = 30 * time.Second

// Publish stores the frames, in their order, in the stream of the topic and returns when the server has acknowledged the last one.
// While there is no connection it waits for one, as long as the message's context allows (30 s if that has no deadline). A frame
// that is too large for the server or the stream, and a topic that is none, are [transports.Permanent] errors; [ErrFull] is not.
func (t *Transport) Publish(topic string, frames ...*message.Message) error {
	subject, dest, err := t.names.destination(topic)
	if err != nil {
		return err
	}
	if err := t.enter(); err != nil {
		return err
	}
	defer t.running.Done()
	for _, frame := range frames {
		if limit := t.MaxPayload(); limit > 0 && len(frame.Payload) > limit {
			return transports.Permanent(fmt.Errorf("frame of %d bytes, the transport takes %d; %s", len(frame.Payload), limit, t.raisePayload()))
		}
		msg := natsgo.NewMsg(subject)
		msg.Header.Set(jetstream.MsgIDHeader, t.names.messageID(dest, frame.UUID))
		msg.Data = frame.Payload
		if err := t.publish(frame.Context(), msg); err != nil {
			return publishError(dest, err)
		}
		t.status.bytesOut.Add(uint64(len(frame.Payload)))
	}
	return nil
}

func (t *Transport) publish(ctx context.Context, msg *natsgo.Msg) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, publishTimeout)
		defer cancel()
	}
	for again := false; ; again = true {
		s, err := t.await(ctx)
		if err != nil {
			return err
		}
		if err = s.publish(ctx, msg); err == nil {
			t.status.moved()
			return nil
		}
		switch {
		case s.ctx.Err() != nil && ctx.Err() == nil && t.ctx.Err() == nil:
			// The connection broke under it: the next session sends it again, and the server knows its id.
		case noStream(err) && !again: // the stream was deleted: run makes it anew
			t.endSession(s)
		default:
			if errors.Is(ctx.Err(), context.DeadlineExceeded) && s.ctx.Err() == nil {
				t.status.set(transports.Stalled, err)
			}
			return err
		}
	}
}

// publish waits for the server's acknowledgement until the session or ctx ends.
func (s *session) publish(ctx context.Context, msg *natsgo.Msg) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	_, err := s.js.PublishMsg(ctx, msg)
	return err
}

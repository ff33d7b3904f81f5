package twister

import (
	"context"
	"encoding/hex"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// readPart takes a part of a frame. A frame that begins before another is whole takes its place: its sender has given it up.
func (r *follower) readPart(ctx context.Context, p rpc.Post, out chan<- *message.Message) bool {
	got, err := parsePart(p.Text)
	same := err == nil && r.parts.next > 0 && got.id == r.parts.id
	switch {
	case err != nil:
		r.status.dropped(dropPart, 1)
		r.move(p.K)
		return true
	case same && got.index < r.parts.next: // posted twice
		r.move(p.K)
		return true
	case !same && r.parts.next > 0:
		r.status.dropped(dropNoWhole, 1)
		r.forget()
	}
	if got.index != r.parts.next || len(r.parts.data)+len(got.data) > MaxPayload {
		r.status.dropped(dropPart, 1)
		r.forget()
		r.move(p.K)
		return true
	}
	data := append(r.parts.data, got.data...)
	if !got.last {
		r.parts.part, r.parts.next = *got, got.index+1
		r.parts.data = data
		r.k = p.K // but at.K stays before the first part
		return true
	}
	id := hex.EncodeToString(got.id[:])
	if slices.Contains(r.at.Recent, id) {
		r.forget()
		r.move(p.K)
		return true
	}
	m := message.NewMessage(got.name(r.peer), data)
	m.Metadata.Set(transports.MetaFrom, r.peer)
	if got.bare {
		b, err := unpackMessage(data)
		if err != nil {
			r.status.dropped(dropPart, 1)
			r.forget()
			r.move(p.K)
			return true
		}
		m = b.message(r.peer, p.K)
	}
	if !r.deliver(ctx, m, out) {
		return false
	}
	r.forget()
	r.at.Recent = append(r.at.Recent, id)
	if len(r.at.Recent) > maxDelivered {
		r.at.Recent = slices.Delete(r.at.Recent, 0, len(r.at.Recent)-maxDelivered)
	}
	r.done(p.K)
	return true
}

// forget is done with the frame that is being put together.
func (r *follower) forget() { r.parts.part, r.parts.next = part{}, 0 }

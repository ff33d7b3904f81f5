package kademlia

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

// Publish sends frames to a peer, or to all that follow this node, and waits until they are taken: by the peer, who may be away for
// long, or into the feed's log on disk.
func (t *Transport) Publish(topic string, frames ...*message.Message) error {
	send, results := t.Stream(topic), make([]<-chan error, len(frames))
	for i, m := range frames {
		results[i] = send(m)
	}
	for _, result := range results {
		if err := <-result; err != nil {
			return err
		}
	}
	return nil
}

// chain is the frames of a stream. The mutex of what they go to guards it.
type chain struct {
	broken bool // one of them has failed
}

// Stream implements transports.Pipelined.
func (t *Transport) Stream(topic string) (send func(*message.Message) <-chan error) {
	c := new(chain)
	return func(frame *message.Message) <-chan error { return t.send(topic, c, frame) }
}

func (t *Transport) send(topic string, c *chain, frame *message.Message) <-chan error {
	if !t.running() {
		return failed(errClosed)
	}
	name, direct := transports.DirectPeer(topic)
	if p := t.byName[name]; direct && p != nil {
		return p.outbox.send(c, frame)
	}
	switch {
	case direct:
		return failed(transports.Permanent(fmt.Errorf("peer %q: not in the peers of this node", name)))
	case topic == transports.Broadcast:
		return failed(t.feeds.publish(c, frame))
	}
	return failed(transports.Permanent(fmt.Errorf("publish topic %q: neither %q nor %q", topic, transports.Direct("PEER"), transports.Broadcast)))
}

// unfit says why a frame cannot cross the mesh, if so.
func unfit(frame *message.Message) error {
	switch {
	case len(frame.Payload) > maxFrame:
		return transports.Permanent(fmt.Errorf("frame of %d bytes, the transport takes %d", len(frame.Payload), maxFrame))
	case len(frame.UUID) == 0 || len(frame.UUID) > maxUUID: // in a feed, an entry without a name is a notice
		return transports.Permanent(fmt.Errorf("frame with a name of %d bytes, 1 to %d are carried", len(frame.UUID), maxUUID))
	}
	return nil
}

// failed is the result of what is decided.
func failed(err error) <-chan error {
	result := make(chan error, 1)
	result <- err
	return result
}

// Patience implements transports.Patient: a frame waits for its peer as long as it takes, at the cost of a timer.
func (t *Transport) Patience() time.Duration { return 0 }

// MaxPayload returns the largest frame in bytes.
func (t *Transport) MaxPayload() int { return maxFrame }

// Subscribe delivers direct frames for this node, or the feeds of the peers that it follows.
func (t *Transport) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if !t.running() {
		return nil, errClosed
	}
	var lines []*line
	switch topic {
	case transports.Inbox:
		for _, p := range t.peers {
			lines = append(lines, p.origin.line)
		}
	case transports.Feed:
		lines = t.feeds.lines()
	default:
		return nil, fmt.Errorf("subscribe topic %q: neither %q nor %q", topic, transports.Inbox, transports.Feed)
	}
	if !t.enter() {
		return nil, errClosed
	}
	out := make(chan *message.Message)
	go func() {
		defer t.work.Done()
		defer close(out)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(t.taking, cancel)()
		var handing sync.WaitGroup
		for _, l := range lines {
			handing.Go(func() { l.hand(ctx, out) })
		}
		<-ctx.Done()
		handing.Wait()
	}()
	return out, nil
}

package twister

import (
	"context"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

// Subscribe delivers the frames of [transports.Inbox], up to 32 of each sender before the first is acknowledged, or of [transports.Feed].
// A node has one subscription of each; the next one begins when the last has ended.
func (t *Transport) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	subscribe := t.subscribeInbox
	switch topic {
	case transports.Inbox:
	case transports.Feed:
		subscribe = t.subscribeFeed
	default:
		return nil, fmt.Errorf("subscribe topic %q: neither %q nor %q", topic, transports.Inbox, transports.Feed)
	}
	if err := t.enter(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(t.ctx, cancel)
	out := make(chan *message.Message)
	go func() {
		defer t.running.Done()
		defer close(out)
		defer unhook()
		defer cancel()
		subscribe(ctx, out)
	}()
	return out, nil
}

func (t *Transport) subscribeInbox(ctx context.Context, out chan<- *message.Message) {
	select {
	case t.subscribed <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-t.subscribed }()
	var running sync.WaitGroup
	for _, p := range t.peers {
		running.Go(func() { p.origin.hand(ctx, out) })
	}
	running.Wait()
	<-ctx.Done()
}

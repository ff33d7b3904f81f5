package nats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
)

// Watermill's own suite makes up its topics and expects metadata to travel. So each of its topics is the inbox of a node named after
// it, and metadata goes in the payload.
func TestWatermillSuite(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	tests.TestPubSub(t, tests.Features{
		GuaranteedOrderWithSingleSubscriber: true,
		Persistent:                          true,
		ForceShort:                          testing.Short(),
	}, func(t *testing.T) (message.Publisher, message.Subscriber) {
		config := nats.Config{URL: server.ClientURL(), Limits: nats.Limits{Frames: 1 << 20}, Node: "sender"}
		return &watermillPublisher{startNode(t, config)}, &watermillSubscriber{t: t, config: config}
	}, nil)
}

func nodeOf(topic string) string {
	h := fnv.New64a()
	h.Write([]byte(topic))
	return fmt.Sprintf("t%x", h.Sum64())
}

type envelope struct {
	Metadata message.Metadata
	Payload  []byte
}

type watermillPublisher struct{ *nats.Transport }

func (p *watermillPublisher) Publish(topic string, messages ...*message.Message) error {
	for _, m := range messages {
		payload, err := json.Marshal(envelope{m.Metadata, m.Payload})
		if err != nil {
			return err
		}
		wrapped := message.NewMessage(m.UUID, payload)
		wrapped.SetContext(m.Context())
		if err := p.Transport.Publish(transports.Direct(nodeOf(topic)), wrapped); err != nil {
			return err
		}
	}
	return nil
}

// watermillSubscriber starts a node for each topic.
type watermillSubscriber struct {
	t      *testing.T
	config nats.Config

	mu      sync.Mutex
	nodes   []*nats.Transport
	running sync.WaitGroup // Close waits for the channels to close
}

func (s *watermillSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	config := s.config
	config.Node = nodeOf(topic)
	node := startNode(s.t, config)
	wrapped, err := node.Subscribe(ctx, transports.Inbox)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = append(s.nodes, node)
	s.running.Go(func() {
		defer close(out)
		for m := range wrapped {
			var e envelope
			if err := json.Unmarshal(m.Payload, &e); err != nil {
				s.t.Error(err)
				return
			}
			m.Metadata, m.Payload = e.Metadata, e.Payload
			select {
			case out <- m:
			case <-m.Context().Done():
			}
		}
	})
	return out, nil
}

func (s *watermillSubscriber) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, node := range s.nodes {
		if err := node.Close(); err != nil {
			return err
		}
	}
	s.running.Wait()
	return nil
}

package kademlia_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// Does the transport pass Watermill's own conformance suite? The suite makes up its topics, so each of them is a mesh of two nodes, one
// that gives and one that takes; it expects metadata to travel, so that goes in the payload.
//
// What is declared: frames outlive the instances of both nodes, of which one of each runs at a time. It runs in short, for a frame that
// was refused waits for a tenth of a second, and one of a feed is synced to the disk before the next; order and restarts of direct frames
// run in full. Not declared are
//   - GuaranteedOrder, though frames come in order: TestNoAck wants with it that nothing comes before the last frame is acknowledged, and
//     here several do. So TestPublishSubscribeInOrder runs with it by itself.
//   - ExactlyOnceDelivery: what was taken and not confirmed comes again after a restart, and is known by its number.
//   - NewSubscriberReceivesOldMessages: a direct frame is gone once it is taken, and a feed begins with what is published from then on.
//   - ConsumerGroups, ContextPreserved: there is nothing of the kind. RestartServiceCommand: there is no service between the nodes.
func TestWatermillSuite(t *testing.T) {
	type test = func(*testing.T, tests.TestContext, tests.PubSubConstructor)
	for name, feed := range map[string]bool{"direct": false, "feed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &pairs{feed: feed, byTopic: map[string]*pair{}}
			features := tests.Features{
				GuaranteedOrderWithSingleSubscriber: true, Persistent: true, RequireSingleInstance: true, ForceShort: true,
			}
			tests.TestPubSub(t, features, p.construct, nil)
			features.GuaranteedOrder, features.ForceShort = true, feed
			more := map[string]test{"order": tests.TestPublishSubscribeInOrder}
			if !feed {
				more["restarts"] = tests.TestContinueAfterSubscribeClose
			}
			for name, run := range more {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					run(t, tests.TestContext{TestID: tests.NewTestID(), Features: features}, p.construct)
				})
			}
		})
	}
}

// pairs are the nodes of all topics.
type pairs struct {
	feed bool // they broadcast

	mu      sync.Mutex
	byTopic map[string]*pair
}

func (p *pairs) construct(t *testing.T) (message.Publisher, message.Subscriber) {
	return &watermillPublisher{t: t, pairs: p, used: map[*pair]bool{}}, &watermillSubscriber{t: t, pairs: p, used: map[*pair]bool{}}
}

func (p *pairs) of(topic string) *pair {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byTopic[topic] == nil {
		giver, taker := "giver of "+topic, "taker of "+topic
		p.byTopic[topic] = &pair{
			feed: p.feed, giver: giver, taker: taker, turn: make(chan struct{}, 1), running: map[string]*kademlia.Transport{},
			lane: &lane{longer: make(chan struct{}, 1)}, mesh: &mesh{names: []string{giver, taker}, dirs: map[string]string{}},
		}
	}
	return p.byTopic[topic]
}

// pair is the nodes of a topic, which keep their folders from one start to the next.
type pair struct {
	feed         bool
	giver, taker string
	turn         chan struct{} // holds a token while a subscriber has the taker
	lane         *lane

	mu      sync.Mutex
	mesh    *mesh
	running map[string]*kademlia.Transport
	idle    context.CancelFunc // ends what empties the lane
	work    sync.WaitGroup
}

// start starts a node, unless it runs. It enters the mesh by the other one, if that runs; else that enters it by this one, later.
func (p *pair) start(t *testing.T, name string) *kademlia.Transport {
	p.mu.Lock()
	defer p.mu.Unlock()
	if node := p.running[name]; node != nil {
		return node
	}
	p.mesh.bootstrap = ""
	for _, other := range p.running {
		p.mesh.bootstrap = other.Addresses()[0]
	}
	var follow []string
	if p.feed && name == p.taker {
		follow = []string{p.giver}
	}
	node := start(t, p.mesh.node(t, name, follow...))
	p.running[name] = node
	if name == p.giver {
		ctx, cancel := context.WithCancel(t.Context())
		p.idle = cancel
		p.work.Go(func() {
			err := p.lane.empty(ctx, func(frames ...*message.Message) error { return node.Publish(transports.Direct(p.taker), frames...) })
			if ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { _ = p.stop(name) })
	return node
}

func (p *pair) stop(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	node := p.running[name]
	if node == nil {
		return nil
	}
	delete(p.running, name)
	if name == p.giver {
		p.idle()
		defer p.work.Wait()
	}
	return node.Close()
}

// lane is what the pipeline has in front of a transport: it holds direct frames until they are taken, also while neither node runs.
type lane struct {
	mu     sync.Mutex
	frames []*message.Message
	longer chan struct{} // holds a token when there are more
}

func (l *lane) put(frames ...*message.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frames = append(l.frames, frames...)
	select {
	case l.longer <- struct{}{}:
	default:
	}
}

// empty publishes what is in the lane until ctx ends or that fails.
func (l *lane) empty(ctx context.Context, publish func(...*message.Message) error) error {
	for {
		l.mu.Lock()
		frames := slices.Clone(l.frames)
		l.mu.Unlock()
		if err := publish(frames...); err != nil {
			return err
		}
		l.mu.Lock()
		l.frames = l.frames[len(frames):]
		more := len(l.frames) > 0
		l.mu.Unlock()
		if more {
			continue
		}
		select {
		case <-l.longer:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type envelope struct {
	Metadata message.Metadata
	Payload  []byte
}

type watermillPublisher struct {
	t     *testing.T
	pairs *pairs

	mu   sync.Mutex
	used map[*pair]bool
}

// Publish puts direct frames into the lane, for the transport waits until they are taken, and the suite subscribes later.
func (p *watermillPublisher) Publish(topic string, messages ...*message.Message) error {
	var frames []*message.Message
	for _, m := range messages {
		payload, err := json.Marshal(envelope{m.Metadata, m.Payload})
		if err != nil {
			return err
		}
		frames = append(frames, message.NewMessage(m.UUID, payload))
	}
	pair := p.pairs.of(topic)
	p.mu.Lock()
	p.used[pair] = true
	p.mu.Unlock()
	node := pair.start(p.t, pair.giver)
	if pair.feed {
		return node.Publish(transports.Broadcast, frames...)
	}
	pair.lane.put(frames...)
	return nil
}

// Close stops the nodes that it has published with.
func (p *watermillPublisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for pair := range p.used {
		errs = append(errs, pair.stop(pair.giver))
	}
	return errors.Join(errs...)
}

type watermillSubscriber struct {
	t     *testing.T
	pairs *pairs

	mu   sync.Mutex
	used map[*pair]bool
}

// take starts both nodes of the pair, once no other subscriber has the one that takes.
func (s *watermillSubscriber) take(pair *pair) *kademlia.Transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.used[pair] {
		pair.turn <- struct{}{}
		s.used[pair] = true
	}
	pair.start(s.t, pair.giver)
	return pair.start(s.t, pair.taker)
}

// SubscribeInitialize has the taker meet the giver, for a feed begins with what is published from then on, and stops it.
func (s *watermillSubscriber) SubscribeInitialize(topic string) error {
	pair := s.pairs.of(topic)
	if !pair.feed {
		return nil
	}
	follows(s.t, s.take(pair), pair.giver)
	return s.release(pair)
}

func (s *watermillSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	pair := s.pairs.of(topic)
	own := transports.Inbox
	if pair.feed {
		own = transports.Feed
	}
	frames, err := s.take(pair).Subscribe(ctx, own)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		for m := range frames {
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
	}()
	return out, nil
}

func (s *watermillSubscriber) release(pair *pair) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.used[pair] {
		return nil
	}
	delete(s.used, pair)
	defer func() { <-pair.turn }()
	return pair.stop(pair.taker)
}

// Close stops the nodes that it has subscribed with.
func (s *watermillSubscriber) Close() error {
	s.mu.Lock()
	used := slices.Collect(maps.Keys(s.used))
	s.mu.Unlock()
	var errs []error
	for _, pair := range used {
		errs = append(errs, s.release(pair))
	}
	return errors.Join(errs...)
}

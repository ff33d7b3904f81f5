package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/transports"
)

// Broker is the local broker's two ends, on one connection.
type Broker interface {
	transports.Transport
	message.Publisher
	// SubscribeAll delivers what is published on the filters, each with the QoS to ask for. It replaces what the broker's
	// session was subscribed to before.
	SubscribeAll(ctx context.Context, filters map[string]byte) (<-chan *message.Message, error)
	// StopWaiting makes Publish give up at once, now and later, where there is no connection.
	StopWaiting()
}

// Refusal is the error of a Publish whose broker has taken all messages but some.
type Refusal interface {
	error
	// Refused returns the UUIDs of the messages that the broker will never take, and why.
	Refused() (uuids []string, reason string)
}

// Transports are the configured transports by name.
type Transports map[string]transports.Transport

// Node is one relay, assembled. Whoever starts it stops it, once.
type Node struct {
	cfg        Config
	id         *identity.Identity
	store      *lanes.Store
	broker     Broker
	transports Transports
	steps      stage.Steps
	log        *slog.Logger
	started    time.Time

	interests  map[string]*interests // by transport
	news       bell                  // rung when one of them changes
	open       []string              // the transports that authenticate names
	boards     []*board
	out        *out
	deliveries []*delivery
	stagings   []*staging
	orphans    []*lanes.Lane
	in         *in
	dead       *deadLetters

	outRouter, deliverRouter, inRouter *router
	running                            []func() error // how to stop what was started: last first
	drained                            context.Context
	endDrain                           context.CancelFunc
}

// New assembles a node of its parts, which it starts and stops.
func New(cfg Config, id *identity.Identity, store *lanes.Store, broker Broker, ts Transports, steps stage.Steps, log *slog.Logger) (*Node, error) {
	n := &Node{
		cfg: cfg, id: id, store: store, broker: broker, transports: ts, steps: steps, log: log,
		interests: make(map[string]*interests, len(ts)), dead: &deadLetters{sink: broker, log: log},
	}
	n.drained, n.endDrain = context.WithCancel(context.Background())
	for _, name := range slices.Sorted(maps.Keys(ts)) {
		if _, ok := ts[name].(transports.OpenDirectory); ok {
			n.open = append(n.open, name)
		}
	}
	peers, err := newPeers(cfg.Node, id, cfg.Peers, n.open)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(ts)) {
		if err := n.buildBoard(name, peers); err != nil {
			return nil, err
		}
	}
	for _, build := range []func([]*peer) error{n.buildOut, n.buildIn} {
		if err := build(peers); err != nil {
			return nil, err
		}
	}
	n.keepOrphans()
	return n, nil
}

// source is the broker as the out-router's subscriber.
type source struct {
	broker  Broker
	filters map[string]byte
}

func (s source) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	return s.broker.SubscribeAll(ctx, s.filters)
}

func (source) Close() error { return nil }

// sourceFilters returns what the relay subscribes to at its broker: a disjoint cover of what the routes match, since a broker
// may deliver a message once for each subscription that matches it [MQTT-3.3.5-1].
func sourceFilters(routes []Route) map[string]byte {
	var all []string
	for _, r := range routes {
		all = append(all, r.Match...)
	}
	filters := make(map[string]byte)
	for _, cover := range matching.Cover(all) {
		for _, r := range routes {
			for _, f := range r.Match {
				if matching.Covers(cover, f) {
					filters[cover] = max(filters[cover], r.QoS)
				}
			}
		}
	}
	return filters
}

// Start starts everything: first what takes messages in, so that the broker's session has its subscriptions from the first
// moment (the lanes keep what comes), then the broker, the transports, the directories, and the routers that need them. The
// function died is called when a router ends by itself. On an error everything that was started is stopped.
func (n *Node) Start(ctx context.Context, died func(error)) error {
	n.started = time.Now()
	err := n.start(ctx, died)
	if err != nil {
		return errors.Join(err, n.Stop(ctx))
	}
	return nil
}

func (n *Node) start(ctx context.Context, died func(error)) error {
	if err := n.startRouter(ctx, n.outRouter, died); err != nil {
		return err
	}
	if err := n.broker.Start(ctx); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	n.running = append(n.running, n.broker.Close)
	for _, name := range slices.Sorted(maps.Keys(n.transports)) {
		t := n.transports[name]
		if err := t.Start(ctx); err != nil {
			return fmt.Errorf("transport %s: %w", name, err)
		}
		n.running = append(n.running, t.Close)
	}
	for _, b := range n.boards {
		b.start()
		n.running = append(n.running, func() error { b.stop(); return nil })
	}
	for _, r := range []*router{n.inRouter, n.deliverRouter} {
		if err := n.startRouter(ctx, r, died); err != nil {
			return err
		}
		n.running = append(n.running, r.stop)
	}
	return nil
}

// startRouter starts a router unless it has nothing to do, for then it would end at once.
func (n *Node) startRouter(ctx context.Context, r *router, died func(error)) error {
	if len(r.Handlers()) == 0 {
		return nil
	}
	return r.start(ctx, died)
}

// Stop stops everything: first what takes messages in; the lanes drain; then the rest, in the reverse order of its start.
func (n *Node) Stop(context.Context) error {
	errs := []error{n.outRouter.stop()}
	n.drain()
	n.endDrain()
	n.broker.StopWaiting()
	for _, stop := range slices.Backward(n.running) {
		errs = append(errs, stop())
	}
	n.running = nil
	for _, s := range n.stagings {
		s.chain.close()
	}
	return errors.Join(errs...)
}

// drainTime is how long a stopping node goes on emptying its lanes, for the sake of the QoS 0 messages, which are in memory only.
const drainTime = 3 * time.Second

// drain waits until the lanes whose stages answer hold only what these keep back, and those whose transport is up are empty, or drainTime
// is over.
func (n *Node) drain() {
	deadline := time.Now().Add(drainTime)
	n.drainLanes(deadline) // a stage that hangs is not to cost the others their time
	for _, s := range n.stagings {
		for s.moves() && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
	}
	n.drainLanes(deadline)
}

func (n *Node) drainLanes(deadline time.Time) {
	for _, d := range n.deliveries {
		for d.lane.Stats().Depth > 0 && n.isUp(d.route.To) && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (n *Node) isUp(transport string) bool {
	return n.transports[transport].Report().State == transports.Up
}

package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
)

var (
	// ErrClosed is returned by what a closed session was asked for, and by a Publish that Close or StopWaiting has
	// interrupted: whether the broker has its messages is unknown.
	ErrClosed = errors.New("mqtt session closed")
	// ErrSubscriptionRefused is returned by Subscribe when the broker refuses the filter.
	ErrSubscriptionRefused = errors.New("broker refused the subscription")
)

// Session is one client of a broker: a Watermill publisher and subscriber on one connection. It implements
// [transports.Transport].
type Session struct {
	cfg      Config
	clientID string
	clean    bool
	store    Store
	marshal  Marshaler
	log      *slog.Logger

	out  *outgoing
	in   *incoming
	echo *echoGuard // shared with in

	changed chan struct{} // what is subscribed to has to change
	replies replies

	ctx    context.Context
	cancel context.CancelFunc

	connection sync.WaitGroup // the goroutines of the connection
	consumers  sync.WaitGroup // those of the subscriptions

	mu          sync.Mutex
	started     bool
	begun       time.Time // when it was started
	closed      bool
	initialized map[string]byte // by SubscribeInitialize
	lingering   map[string]lingering
	report      transports.Report
	link        *link
	connections uint64
	lastPing    time.Time // when the last PINGREQ was sent on link
	pinged      time.Time // the same while it waits for its answer, or zero
	lost        uint64    // QoS 0 messages lost with links that are gone
	loss        string    // what there is to say of messages given up that no Publish waited for
}

// lingering is a filter whose consumer has gone.
type lingering struct {
	qos   byte
	until time.Time
}

// New returns a session that does nothing before Start. A nil store is a [MemoryStore], a nil marshaler [Raw].
func New(cfg Config, store Store, marshal Marshaler, log *slog.Logger) (*Session, error) {
	cfg.SetDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if store == nil {
		store = NewMemoryStore()
	}
	if marshal == nil {
		marshal = Raw{}
	}
	echo := newEchoGuard()
	s := &Session{
		cfg: cfg, store: store, marshal: marshal, log: log,
		out: newOutgoing(store, cfg.MaxInflight, cfg.MaxInflightQoS2), in: newIncoming(store, echo), echo: echo,
		changed:     make(chan struct{}, 1),
		initialized: make(map[string]byte), lingering: make(map[string]lingering),
		report: transports.Report{State: transports.Down, Since: time.Now()},
	}
	s.clientID, s.clean = cfg.clientID()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Start implements [transports.Transport]. What is subscribed to before Start survives a restart without a gap: filters
// that the broker's session has from the last run and that nobody asked for by now are unsubscribed from.
func (s *Session) Start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.closed {
		return errors.New("mqtt session started twice")
	}
	s.started, s.begun = true, time.Now()
	s.out.load()
	s.connection.Go(s.run)
	return nil
}

// Close implements [transports.Transport]. It sends the acknowledgements that are due, disconnects, and closes the channels
// of all subscriptions. The broker keeps a persistent session with its subscriptions. A second Close does nothing.
func (s *Session) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.out.close()
	s.cancel()
	s.connection.Wait()
	s.consumers.Wait()
	s.setState(transports.Down, "")
	return nil
}

// StopWaiting ends every Publish that waits while there is no connection, and every later one, with [ErrClosed]: at once,
// or, while there is a connection, as soon as it is lost. It is called before a stop in order, which would otherwise wait
// for a broker that is away. All else goes on until Close. What is in flight stays so, and is completed if a connection
// comes; else what is at QoS 2 stays in the [Store] for the next start, and what is at QoS 1 is forgotten: publish it again.
func (s *Session) StopWaiting() { s.out.stopWaiting() }

// Publish implements [message.Publisher]. An empty topic means that of each message's metadata,
// [transports.MetaTopic]. It writes all messages in order and returns nil when the broker has completed every one of them;
// at QoS 0, when they are in the connection's buffer. While there is no connection it waits. The context of the first
// message bounds the call; if it ends, what was written stays in flight and is completed later.
//
// An error marked by [transports.Permanent] (a topic that is no topic name, a packet too large) stops the call before the
// message it is about; the messages before it are published. A [Refusal] is otherwise: it names the messages
// that the broker hung up on again and again, or is known to hang up on, and all others are published.
func (s *Session) Publish(topic string, msgs ...*message.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	ctx := msgs[0].Context()
	answers := newCall()
	err := s.write(ctx, topic, msgs, answers)
	waitErr := s.out.await(ctx, answers)
	switch {
	case err != nil:
		return err
	case waitErr != nil:
		return fmt.Errorf("publish: %w", waitErr)
	case len(answers.refused) > 0:
		return transports.Permanent(&Refusal{UUIDs: answers.refused, Reason: "the broker hangs up whenever it gets the message"})
	}
	return nil
}

func (s *Session) write(ctx context.Context, topic string, msgs []*message.Message, answers *call) error {
	for _, msg := range msgs {
		to := topic
		if to == "" {
			to = msg.Metadata[transports.MetaTopic]
		}
		p, err := s.marshal.Marshal(to, msg)
		if err != nil {
			return fmt.Errorf("publish %q: %w", to, err)
		}
		if s.out.refuses(p.Topic, msg.UUID, answers) {
			continue
		}
		if s.echo.on.Load() && s.in.wants(p.Topic) {
			s.echo.published(p)
		}
		if p.QoS == 0 {
			err = s.out.publishLoose(ctx, p)
		} else {
			err = s.out.publish(ctx, p, msg.UUID, answers)
		}
		if err != nil {
			return fmt.Errorf("publish %q: %w", to, err)
		}
	}
	return nil
}

// Subscribe implements [message.Subscriber]: the messages whose topic matches the filter, at the QoS they were published
// with. After Start it waits for the broker's answer, as long as ctx lasts. When ctx ends, the channel is closed and what was
// not acknowledged waits 2 minutes for another subscription; then the filter is unsubscribed from and the rest is dropped,
// counted.
func (s *Session) Subscribe(ctx context.Context, filter string) (<-chan *message.Message, error) {
	return s.SubscribeAll(ctx, map[string]byte{filter: 2})
}

// SubscribeAll is Subscribe for several filters on one channel, each with the highest QoS that is wanted. A message whose
// topic matches several of them comes once where the broker sends it once.
func (s *Session) SubscribeAll(ctx context.Context, filters map[string]byte) (<-chan *message.Message, error) {
	for filter, qos := range filters {
		if err := checkFilter(filter, qos); err != nil {
			return nil, err
		}
	}
	c := &consumer{
		filters: maps.Clone(filters), in: s.in, marshal: s.marshal, window: s.cfg.Window, log: s.log,
		out: make(chan *message.Message, s.cfg.Window-1), arrived: make(chan struct{}, 1), gone: make(chan struct{}), ready: make(chan error, 1),
	}
	s.in.awaitEnded()
	c.ctx, c.cancel = context.WithCancel(ctx)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		c.cancel()
		return nil, ErrClosed
	}
	stop := context.AfterFunc(s.ctx, c.cancel)
	s.in.add(c)
	started := s.started
	s.consumers.Go(func() {
		c.run()
		stop()
		s.left(c)
	})
	s.mu.Unlock()
	s.change()
	if !started {
		return c.out, nil
	}
	return s.awaitSubscribed(ctx, c)
}

func (s *Session) awaitSubscribed(ctx context.Context, c *consumer) (<-chan *message.Message, error) {
	var err error
	select {
	case err = <-c.ready:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-s.ctx.Done():
		err = ErrClosed
	}
	if err != nil {
		c.cancel()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return c.out, nil
}

// left keeps the filters of a consumer that has gone subscribed for a while.
func (s *Session) left(c *consumer) {
	c.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for filter, qos := range c.filters {
		s.lingering[filter] = lingering{qos: qos, until: time.Now().Add(linger)}
	}
}

// SubscribeInitialize implements [message.SubscribeInitializer]: the broker keeps what is published from now on, for a later
// Subscribe of the filter.
func (s *Session) SubscribeInitialize(filter string) error {
	ctx, cancel := context.WithTimeout(s.ctx, connectTimeout)
	defer cancel()
	s.mu.Lock()
	s.initialized[filter] = 2
	s.mu.Unlock()
	_, err := s.Subscribe(ctx, filter)
	return err
}

// change asks the run loop to bring the broker's subscriptions up to date.
func (s *Session) change() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

var (
	_ transports.Transport         = (*Session)(nil)
	_ message.Publisher            = (*Session)(nil)
	_ message.Subscriber           = (*Session)(nil)
	_ message.SubscribeInitializer = (*Session)(nil)
)

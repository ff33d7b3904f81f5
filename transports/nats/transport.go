package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-relay/weft/transports"
)

const (
	requestTimeout = 3 * time.Second        // of one question to the server
	retryDelay     = 500 * time.Millisecond // between attempts to find or make what the transport needs
)

// Transport carries frames over NATS JetStream. It is safe for concurrent use.
type Transport struct {
	config  Config
	names   names
	options []natsgo.Option
	log     *slog.Logger
	status  *status
	noted   map[string]bool // streams whose differences are logged; only run touches it
	server  *server         // embedded, or nil

	maxPayload atomic.Int64
	awake      chan struct{} // holds a token when the connection may be usable

	mu         sync.Mutex
	started    bool
	closed     bool
	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	running    sync.WaitGroup // what uses the connection
	connection sync.WaitGroup // run, which ends after them
	session    *session       // nil while there is none
	begun      chan struct{}  // closed when session is set
	profile    []byte         // last announced, to put back into a bucket that was lost
}

// session is a stretch of time in which the connection is up and everything the transport needs is there.
type session struct {
	js         jetstream.JetStream
	bucket     jetstream.KeyValue
	bucketMade time.Time
	ctx        context.Context // ends with the session
	end        context.CancelFunc
}

// New returns a transport that is not connected yet. It reads the key files that the configuration names and connects to nothing.
func New(c Config, log *slog.Logger) (*Transport, error) {
	c.SetDefaults()
	err := c.Validate()
	if !validName.MatchString(c.Node) {
		err = errors.Join(err, fmt.Errorf("node: %q is not a name; use 1 to 32 of a-z, 0-9, _ and -", c.Node))
	}
	if c.Embedded.Listen != "" && c.Embedded.StoreDir == "" {
		err = errors.Join(err, errors.New("embedded.store_dir: no folder to keep the streams in"))
	}
	if err != nil {
		return nil, err
	}
	opts, err := options(c)
	if err != nil {
		return nil, err
	}
	t := &Transport{
		config: c, names: newNames(c.Prefix, c.Node), options: opts, log: log, status: newStatus(log),
		noted: map[string]bool{}, awake: make(chan struct{}, 1), begun: make(chan struct{}),
	}
	if c.Embedded.Listen != "" {
		t.server, err = newServer(c, log)
	}
	return t, err
}

// Start runs the embedded server, if there is one, and begins connecting. Its error is that of the embedded server.
func (t *Transport) Start(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started {
		return errors.New("transport was started before")
	}
	opts := append(t.options, t.handlers()...)
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	opts = append(opts, natsgo.SetCustomDialer(dialer{t.ctx}))
	if t.server != nil {
		if err := t.server.start(); err != nil {
			t.cancel()
			return err
		}
		opts = append(opts, natsgo.InProcessServer(t.server))
	}
	t.started = true
	t.status.set(transports.Connecting, nil)
	t.connection.Go(func() { t.run(opts) })
	return nil
}

// Close ends everything that the transport started, and at last the embedded server.
func (t *Transport) Close() error {
	t.mu.Lock()
	if !t.started || t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.running.Wait()
	t.connection.Wait()
	if t.server != nil {
		t.server.stop()
	}
	t.status.set(transports.Down, nil)
	return nil
}

// Report says how the transport fares.
func (t *Transport) Report() transports.Report { return t.status.report() }

// MaxPayload returns the largest frame in bytes that the server and the streams take, or 0 before the first connection.
func (t *Transport) MaxPayload() int { return int(t.maxPayload.Load()) }

// raisePayload says what raises MaxPayload.
func (t *Transport) raisePayload() string {
	if t.server != nil {
		return "a NATS server inside a node takes no more; for larger messages use one of your own with a larger max_payload"
	}
	return "raise max_payload of the NATS server, unless it is one inside a node, which takes no more, and max_msg_size of its stream if that is less"
}

// Address returns the nats:// URL of the embedded server, with the port that it got, or "" without one.
func (t *Transport) Address() string {
	if t.server == nil {
		return ""
	}
	return t.server.url()
}

// run owns the connection: it makes sessions, one after the other, until the transport is closed.
func (t *Transport) run(opts []natsgo.Option) {
	nc, err := natsgo.Connect(t.config.URL, opts...)
	if err != nil { // only of the options: a server that does not answer is tried again for ever
		t.status.set(transports.Down, fmt.Errorf("connect: %w", err))
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		t.status.set(transports.Down, err)
		return
	}
	for t.ctx.Err() == nil {
		if !nc.IsConnected() {
			t.awaitConnection(nc)
			continue
		}
		s, err := t.provision(nc, js)
		switch {
		case err == nil:
			<-s.ctx.Done()
			s.end()
		case nc.IsConnected() && t.ctx.Err() == nil:
			t.status.set(transports.Stalled, err)
			pause(t.ctx, retryDelay)
		}
	}
	t.running.Wait()
	if nc.IsConnected() { // acknowledgements may be in the buffer; a lost one only costs a redelivery
		_ = nc.FlushTimeout(time.Second)
	}
}

// awaitConnection returns when there may be a connection, or for a look at what a server has answered to the login: the
// library calls no handler for that while it has not been connected yet.
func (t *Transport) awaitConnection(nc *natsgo.Conn) {
	look := time.NewTimer(time.Second)
	defer look.Stop()
	select {
	case <-t.awake:
	case <-look.C:
		if err := nc.LastError(); err != nil && nc.IsReconnecting() {
			t.status.disconnected(err)
		}
	case <-t.ctx.Done():
	}
}

// pause waits for the delay or until ctx ends.
func pause(ctx context.Context, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (t *Transport) wake() {
	select {
	case t.awake <- struct{}{}:
	default:
	}
}

// provision finds or makes the streams and the bucket, and begins a session.
func (t *Transport) provision(nc *natsgo.Conn, js jetstream.JetStream) (*session, error) {
	ctx := t.ctx // without a deadline, so that each request has its own
	var have []jetstream.StreamConfig
	for _, want := range t.streams() {
		config, err := t.ensureStream(ctx, js, want)
		if err != nil {
			return nil, err
		}
		have = append(have, config)
	}
	bucket, err := t.ensureBucket(ctx, js)
	if err != nil {
		return nil, err
	}
	made, err := t.names.bucketMade(ctx, js)
	if err != nil {
		return nil, err
	}
	if err := t.restoreProfile(ctx, js, bucket); err != nil {
		return nil, err
	}
	t.maxPayload.Store(int64(maxPayload(nc.MaxPayload(), have...)))
	s := &session{js: js, bucket: bucket, bucketMade: made}
	s.ctx, s.end = context.WithCancel(t.ctx)
	t.beginSession(nc, s)
	return s, nil
}

func (t *Transport) beginSession(nc *natsgo.Conn, s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !nc.IsConnected() { // lost while it was made: the handler has found no session to end
		s.end()
		return
	}
	t.session = s
	close(t.begun)
	t.status.set(transports.Up, nil)
}

// endSession ends the session given, or whatever there is, so that run looks again for what the transport needs.
func (t *Transport) endSession(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.session == nil || (s != nil && s != t.session) {
		return
	}
	t.session.end()
	t.session, t.begun = nil, make(chan struct{})
}

// await returns the session, as soon as there is one.
func (t *Transport) await(ctx context.Context) (*session, error) {
	for {
		t.mu.Lock()
		s, begun, life := t.session, t.begun, t.ctx
		t.mu.Unlock()
		switch {
		case life == nil || life.Err() != nil:
			return nil, ErrClosed
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case s != nil:
			return s, nil
		}
		select {
		case <-begun:
		case <-life.Done():
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("not connected: %w", ctx.Err())
		}
	}
}

// enter lets a goroutine of the transport run, which Close then waits for; it calls t.running.Done at its end.
func (t *Transport) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.started || t.closed {
		return ErrClosed
	}
	t.running.Add(1)
	return nil
}

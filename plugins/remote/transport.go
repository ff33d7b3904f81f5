package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
	"github.com/weft-relay/weft/transports"
)

// Transport is a transport that a plugin has. It is opened when the program runs, and anew after each start of it.
type Transport struct {
	program *Program
	typ     string
	options []byte
	node    transports.Node
	log     *slog.Logger

	ctx    context.Context // of everything that runs in the background
	cancel context.CancelFunc
	run    sync.WaitGroup

	mu      sync.Mutex
	live    *link         // nil while the transport is not open
	changed chan struct{} // closed when live changes
	report  transports.Report
	largest int
	reopens uint64
	profile []byte // as announced last; nil when none was
	trouble error  // why it was lost last
}

// link is a transport that is open in one run of the program.
type link struct {
	*session
	handle uint64
	keeps  bool // profiles
	client pluginv1.TransportServiceClient
	lost   context.CancelFunc // ends what runs over it
	ctx    context.Context
}

var (
	_ transports.Transport    = (*Transport)(nil)
	_ transports.MaxPayloader = (*Transport)(nil)
	_ transports.Directory    = (*Transport)(nil)
	_ message.Publisher       = (*Transport)(nil)
	_ message.Subscriber      = (*Transport)(nil)
)

const (
	reportEvery = time.Second
	reopenAfter = time.Second
)

// Transport returns a transport of that type, with its options as a JSON object. It does no I/O. Where the type keeps no profiles, none are
// kept and none are found.
func (p *Program) Transport(typ string, options []byte, node transports.Node) *Transport {
	return &Transport{
		program: p, typ: typ, options: orEmpty(options), node: node, log: p.log.With("transport", node.Transport),
		changed: make(chan struct{}), report: transports.Report{State: transports.Down, Since: time.Now()},
	}
}

// Start begins to open the transport, as soon as the program runs.
func (t *Transport) Start(context.Context) error {
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.note(transports.Report{State: transports.Connecting})
	t.run.Go(func() {
		for t.ctx.Err() == nil {
			err := t.attend()
			if t.ctx.Err() != nil {
				return
			}
			t.mu.Lock()
			t.trouble = err
			t.mu.Unlock()
			t.note(transports.Report{State: transports.Connecting})
			pause(t.ctx, reopenAfter)
		}
	})
	return nil
}

// Close ends the transport in the program, and all that it has handed out.
func (t *Transport) Close() error {
	if t.cancel == nil {
		return nil
	}
	t.cancel()
	t.run.Wait()
	t.note(transports.Report{State: transports.Down})
	return nil
}

func pause(ctx context.Context, period time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(period):
	}
}

func (t *Transport) named(err error) error {
	return t.program.named(fmt.Errorf("transport %q: %w", t.typ, err))
}

// note takes over a report, or a state between reports.
func (t *Transport) note(report transports.Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if report.Since.IsZero() {
		if report.Since = t.report.Since; report.State != t.report.State {
			report.Since = time.Now()
		}
		report.Reconnects, report.BytesIn, report.BytesOut, report.Dropped = t.report.Reconnects, t.report.BytesIn, t.report.BytesOut, t.report.Dropped
	}
	t.report = report
}

// Report is the account that the plugin gave last, or says why it gives none.
func (t *Transport) Report() transports.Report {
	t.mu.Lock()
	report, open := t.report, t.live != nil
	t.mu.Unlock()
	if report.State == transports.Connecting && !open {
		report.Detail = t.named(t.away()).Error()
	}
	return report
}

// away says why the transport is not open.
func (t *Transport) away() error {
	t.program.mu.Lock()
	running, absence := t.program.session != nil, t.program.absence()
	t.program.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !running:
		return absence
	case t.trouble != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, t.trouble)
	}
	return fmt.Errorf("%w: it is being opened", ErrUnavailable)
}

// MaxPayload is what the plugin said last, and 0 before.
func (t *Transport) MaxPayload() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.largest
}

// attend opens the transport and looks after it until it is lost. The error says why.
func (t *Transport) attend() error {
	running, err := t.program.await(t.ctx)
	if err != nil {
		return err
	}
	l, err := t.open(running)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer t.leave(l)
	if err := t.ask(l); err != nil { // its bounds are known before frames are made
		return err
	}
	t.become(l)
	t.announceAgain(l)
	for {
		select {
		case <-l.done:
			return fmt.Errorf("%w: %w", ErrUnavailable, l.proc.why())
		case <-l.ctx.Done():
			return errors.New("the plugin has lost it")
		case <-time.After(reportEvery):
			if err := t.ask(l); err != nil {
				return err
			}
		}
	}
}

func (t *Transport) open(running *session) (*link, error) {
	typ, err := running.description.Type(KindTransport, t.typ)
	if err != nil {
		return nil, err
	}
	node := &pluginv1.Node{Name: t.node.Name, DataDir: t.node.DataDir}
	for _, peer := range t.node.Peers {
		node.Peers = append(node.Peers, &pluginv1.Peer{Name: peer.Name, Key: peer.Key})
	}
	l := &link{session: running, keeps: typ.Directory, client: pluginv1.NewTransportServiceClient(running.conn)}
	err = running.call(t.ctx, func(ctx context.Context) error {
		answer, err := l.client.Open(ctx, &pluginv1.TransportServiceOpenRequest{
			Type: t.typ, Options: t.options, Instance: t.node.Transport, Node: node,
		})
		l.handle = answer.GetHandle()
		return err
	})
	l.ctx, l.lost = context.WithCancel(t.ctx)
	return l, err
}

func (t *Transport) become(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live = l; l != nil {
		t.reopens++
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// leave ends what runs over a link, and the transport in the program.
func (t *Transport) leave(l *link) {
	t.become(nil)
	l.lost()
	if !l.over() {
		_ = l.call(context.Background(), func(ctx context.Context) error {
			_, err := l.client.Close(ctx, &pluginv1.TransportServiceCloseRequest{Handle: l.handle})
			return err
		}) // a program that cannot gives it up with everything else
	}
}

var reportStates = map[pluginv1.State]transports.State{
	pluginv1.State_STATE_UP: transports.Up, pluginv1.State_STATE_CONNECTING: transports.Connecting,
	pluginv1.State_STATE_STALLED: transports.Stalled, pluginv1.State_STATE_DOWN: transports.Down,
}

// maxReasons bounds the reasons in a report for which messages were dropped.
const maxReasons = 32

// ask takes over what the transport says of itself.
func (t *Transport) ask(l *link) error {
	var answer *pluginv1.ReportResponse
	err := l.call(t.ctx, func(ctx context.Context) (err error) {
		answer, err = l.client.Report(ctx, &pluginv1.ReportRequest{Handle: l.handle})
		return err
	})
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	state, known := reportStates[answer.State]
	if !known || len(answer.Dropped) > maxReasons {
		return fmt.Errorf("%w: its report has state %v and %d reasons; it has a state, and at most %d reasons", ErrContract, answer.State, len(answer.Dropped), maxReasons)
	}
	dropped := map[string]uint64{}
	for reason, n := range answer.Dropped {
		dropped[clip(reason, 64)] = n
	}
	t.mu.Lock()
	t.largest = int(min(answer.MaxPayload, maxPayload))
	reopened := max(t.reopens, 1) - 1
	t.mu.Unlock()
	t.note(transports.Report{
		State: state, Since: time.Unix(0, answer.SinceUnixNano), Detail: clip(answer.Detail, maxReason),
		Reconnects: answer.Reconnects + reopened, BytesOut: answer.BytesOut, BytesIn: answer.BytesIn, Dropped: dropped,
	})
	return nil
}

// await returns the running session as soon as there is one.
func (p *Program) await(ctx context.Context) (*session, error) {
	for {
		p.mu.Lock()
		s, changed := p.session, p.changed
		p.mu.Unlock()
		if s != nil && !s.over() {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// wait returns the open transport as soon as there is one, or what keeps it away when ctx ends.
func (t *Transport) wait(ctx context.Context) (*link, error) {
	for {
		t.mu.Lock()
		l, changed := t.live, t.changed
		t.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", t.away(), ctx.Err())
		case <-t.ctx.Done():
			return nil, errClosed
		case <-changed:
		}
	}
}

var errClosed = errors.New("the transport is closed")

// explain says what an error of a call means that may take as long as its context lets it.
func (t *Transport) explain(ctx context.Context, l *link, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case status.Code(err) == codes.NotFound:
		l.lost()
		return fmt.Errorf("%w: %s", ErrUnavailable, plain(err))
	case cut(err) && l.checkHealth() != nil:
		l.broken()
		<-l.done
		return fmt.Errorf("%w: %w", ErrUnavailable, l.proc.why())
	}
	return &Fault{Code: status.Code(err), Text: plain(err)}
}

// Publish gives the frames to the plugin. It waits for a program that does not run until the context of the first ends.
func (t *Transport) Publish(topic string, frames ...*message.Message) error {
	if len(frames) == 0 {
		return nil
	}
	if _, direct := transports.DirectPeer(topic); !direct && topic != transports.Broadcast {
		return transports.Permanent(t.named(fmt.Errorf("unknown topic %q", topic)))
	}
	ctx := frames[0].Context()
	l, err := t.wait(ctx)
	if err != nil {
		return t.named(err)
	}
	request := &pluginv1.PublishRequest{Handle: l.handle, Topic: topic}
	for _, frame := range frames {
		priority, _ := strconv.Atoi(frame.Metadata.Get(transports.MetaPriority))
		request.Frames = append(request.Frames, &pluginv1.Frame{Uuid: frame.UUID, Payload: frame.Payload, Priority: int32(priority)})
	}
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	answer, err := l.client.Publish(bounded, request)
	switch {
	case err == nil:
		return t.verdict(answer, len(frames))
	case ctx.Err() == nil && l.ctx.Err() != nil:
		return t.named(fmt.Errorf("%w: it was lost meanwhile", ErrUnavailable))
	}
	return t.named(t.explain(ctx, l, err))
}

// verdict returns what has become of so many frames. It is permanent where that holds for each.
func (t *Transport) verdict(answer *pluginv1.PublishResponse, frames int) error {
	if len(answer.Errors) == 0 {
		return nil
	}
	permanent := 0
	for _, e := range answer.Errors {
		if int64(e.GetIndex()) >= int64(frames) || len(answer.Errors) > frames {
			return t.named(fmt.Errorf("%w: it says that frame %d of %d failed", ErrContract, e.GetIndex()+1, frames))
		}
		if e.GetPermanent() {
			permanent++
		}
	}
	err := t.named(errors.New(clip(answer.Errors[0].GetReason(), maxReason)))
	if permanent == frames {
		return transports.Permanent(err)
	}
	return err
}

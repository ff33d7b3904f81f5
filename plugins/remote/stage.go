package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/weft-relay/weft/pipeline/stage"
	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
)

// Stage is a stage that a plugin has. It is opened with the first messages.
type Stage struct {
	program  *Program
	typ      string
	options  []byte
	instance string

	session *session // that it is opened in; nil when it is not
	handle  uint64
	kept    keeping
	batch   batch
}

var _ stage.Stage = (*Stage)(nil)

// Stage returns a stage of that type, with its options as a JSON object, for the lane or the key that instance names. It does no I/O:
// whether the program has the type shows at the first messages.
func (p *Program) Stage(typ string, options []byte, instance string) *Stage {
	return &Stage{program: p, typ: typ, options: orEmpty(options), instance: instance}
}

// Process gives the messages to the plugin. An error names it, and is [ErrUnavailable] while the program does not run, and [ErrContract] when
// its answer counts for nothing. It is [stage.ErrCrashed] when the program ended over these messages, or the stage did, and [stage.ErrLost]
// when the state is lost otherwise: the program was started anew, or a call was given up.
func (s *Stage) Process(ctx context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
	out, err := s.process(ctx, now, in)
	if err != nil {
		return stage.Output{}, s.program.named(fmt.Errorf("stage %q: %w", s.typ, err))
	}
	return out, nil
}

func (s *Stage) process(ctx context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
	if err := ctx.Err(); err != nil {
		return stage.Output{}, err // the plugin is not asked, and has its state yet
	}
	running, err := s.program.current(ctx)
	if err != nil {
		return stage.Output{}, s.lose(err)
	}
	defer s.program.share()()
	if err := s.open(ctx, running); err != nil {
		return stage.Output{}, err
	}
	request, size := s.batch.request(s.handle, now, in)
	limit := maxAnswer + 2*size
	var answer *pluginv1.ProcessResponse
	err = running.call(ctx, func(ctx context.Context) (err error) {
		answer, err = pluginv1.NewStageServiceClient(running.conn).Process(ctx, request, grpc.MaxCallRecvMsgSize(limit))
		return err
	})
	if err != nil {
		return stage.Output{}, s.judge(err)
	}
	out, err := s.kept.account(answer, in, limit)
	if err != nil {
		return stage.Output{}, s.judge(err)
	}
	return out, nil
}

// probation is how long after a crash a program has its calls one after the other, so that it shows which one brings it down.
const probation = 2 * time.Minute

// share takes the program for a call until the function that it returns is called: together with others, except soon after a crash.
func (p *Program) share() func() {
	p.mu.Lock()
	alone := time.Now().Before(p.trusted)
	p.mu.Unlock()
	if alone {
		p.gate.Lock()
		return p.gate.Unlock
	}
	p.gate.RLock()
	return p.gate.RUnlock
}

func (p *Program) distrust() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trusted = time.Now().Add(probation)
}

// open opens the stage, unless it is.
func (s *Stage) open(ctx context.Context, running *session) error {
	switch {
	case s.session == running:
		return nil
	case s.session != nil:
		return s.lose(fmt.Errorf("%w: it was started anew", ErrUnavailable))
	}
	if _, err := running.description.Type(KindStage, s.typ); err != nil {
		return err
	}
	var answer *pluginv1.StageServiceOpenResponse
	err := running.call(ctx, func(ctx context.Context) (err error) {
		answer, err = pluginv1.NewStageServiceClient(running.conn).Open(ctx,
			&pluginv1.StageServiceOpenRequest{Type: s.typ, Options: s.options, Instance: s.instance})
		return err
	})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	s.session, s.handle = running, answer.Handle
	return nil
}

// judge says what an error of a call means: whether the state of the stage is lost, and whether what it was given is to blame.
func (s *Stage) judge(err error) error {
	crashed, alone := s.session.toBlame(err)
	if crashed {
		s.program.distrust()
	}
	fault, answered := errors.AsType[*Fault](err)
	switch {
	case crashed && alone, answered && fault.Code == codes.Aborted:
		s.session, s.kept = nil, nil
		return fmt.Errorf("%w: %w", stage.ErrCrashed, err)
	case answered && fault.Code != codes.NotFound:
		return err
	}
	// The answer does not count, or may come yet: the stage has gone on without the node.
	return s.lose(err)
}

// lose gives up the state of the stage, where it has any.
func (s *Stage) lose(err error) error {
	if s.session == nil {
		return err
	}
	s.close()
	s.kept = nil
	return &loss{err}
}

// loss is [stage.ErrLost] for that reason.
type loss struct{ error }

func (l *loss) Unwrap() []error { return []error{stage.ErrLost, l.error} }

// close ends the stage in the plugin.
func (s *Stage) close() {
	running := s.session
	s.session = nil
	if running == nil || running.over() {
		return
	}
	_ = running.call(context.Background(), func(ctx context.Context) error {
		_, err := pluginv1.NewStageServiceClient(running.conn).Close(ctx, &pluginv1.StageServiceCloseRequest{Handle: s.handle})
		return err
	}) // a program that cannot has lost the stage, or gives it up with everything else
}

// Close ends the stage in the plugin, where it is open. It is not called together with Process.
func (s *Stage) Close() error {
	s.close()
	return nil
}

// batch holds what a request is made of, from call to call.
type batch struct {
	messages []pluginv1.Message
	pointers []*pluginv1.Message
}

// request returns the messages as the protocol has them, and about how many bytes they are.
func (b *batch) request(handle uint64, now time.Time, in []stage.Message) (*pluginv1.ProcessRequest, int) {
	if len(b.messages) < len(in) {
		b.messages = make([]pluginv1.Message, len(in))
		b.pointers = make([]*pluginv1.Message, len(in))
		for i := range b.messages {
			b.pointers[i] = &b.messages[i]
		}
	}
	size := 0
	for i := range in {
		m, to := &in[i], &b.messages[i]
		to.Id, to.Topic, to.Payload, to.Qos, to.Retain = m.ID, m.Topic, m.Payload, uint32(m.QoS), m.Retain
		to.TimeUnixNano, to.Origin = m.Time.UnixNano(), m.Origin
		size += len(m.Topic) + len(m.Payload) + 64
	}
	return &pluginv1.ProcessRequest{Handle: handle, NowUnixNano: now.UnixNano(), Messages: b.pointers[:len(in)]}, size
}

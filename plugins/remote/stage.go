package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/weft-relay/weft/pipeline/stage"
	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
)

// Stage is a stage that a plugin has. It is opened with the first messages, and anew after each start of the program: the messages that
// the program had kept back are given to it again then.
type Stage struct {
	program  *Program
	typ      string
	options  []byte
	instance string

	session *session // that it is opened in; nil when it is not
	handle  uint64
	suspect bool // it may be what brought the program down: next time it has it to itself

	kept  []stage.Message // kept back, by ID
	again bool            // what is kept has not been given to this session yet
	batch batch
}

var _ stage.Stage = (*Stage)(nil)

// Stage returns a stage of that type, with its options as a JSON object, for the lane that instance names. It does no I/O: whether the program
// has the type shows at the first messages.
func (p *Program) Stage(typ string, options []byte, instance string) *Stage {
	return &Stage{program: p, typ: typ, options: orEmpty(options), instance: instance}
}

// Process gives the messages to the plugin. An error names it, and is [ErrUnavailable] while the program does not run, [stage.ErrCrashed] when
// it ended over these messages alone, and [ErrContract] when its answer counts for nothing.
func (s *Stage) Process(ctx context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
	out, err := s.process(ctx, now, in)
	if err != nil {
		return stage.Output{}, s.program.named(fmt.Errorf("stage %q: %w", s.typ, err))
	}
	return out, nil
}

func (s *Stage) process(ctx context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
	running, err := s.program.current(ctx)
	if err != nil {
		return stage.Output{}, err
	}
	defer s.program.share(s.suspect)()
	if err := s.open(ctx, running); err != nil {
		return stage.Output{}, s.judge(err)
	}
	given := in
	if s.again {
		given = slices.Concat(s.kept, in)
	}
	request, size := s.batch.request(s.handle, now, given)
	var answer *pluginv1.ProcessResponse
	limit := maxAnswer + 2*size
	err = running.call(ctx, func(ctx context.Context) (err error) {
		answer, err = pluginv1.NewStageServiceClient(running.conn).Process(ctx, request, grpc.MaxCallRecvMsgSize(limit))
		return err
	})
	if err != nil {
		return stage.Output{}, s.judge(err)
	}
	taken := accountant{kept: s.kept, in: in, again: s.again, limit: limit}
	out, err := taken.account(answer)
	if err != nil {
		return stage.Output{}, s.judge(err)
	}
	s.kept = taken.remaining()
	s.suspect, s.again = false, false
	return out, nil
}

// share takes the program for a call, alone or together with others, until the function that it returns is called.
func (p *Program) share(alone bool) func() {
	if alone {
		p.gate.Lock()
		return p.gate.Unlock
	}
	p.gate.RLock()
	return p.gate.RUnlock
}

// open opens the stage, unless it is.
func (s *Stage) open(ctx context.Context, running *session) error {
	if s.session == running {
		return nil
	}
	s.session = nil
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
	s.session, s.handle, s.again = running, answer.Handle, len(s.kept) > 0
	return nil
}

// judge says what an error of a call means: whether the state of the stage is lost, and who has brought the program down.
func (s *Stage) judge(err error) error {
	if s.session == nil {
		return err
	}
	crashed, alone := s.session.toBlame(err)
	var fault *Fault
	switch {
	case crashed:
		s.session, s.suspect = nil, true
		if alone {
			return fmt.Errorf("%w: %w", stage.ErrCrashed, err)
		}
	case errors.Is(err, ErrUnavailable):
		s.session = nil
	case !errors.As(err, &fault): // the answer has come or may have, and does not count: the stage has gone on without us
		s.close()
	case fault.Code == codes.Aborted:
		s.session = nil
		return fmt.Errorf("%w: %w", stage.ErrCrashed, err)
	case fault.Code == codes.NotFound:
		s.session = nil
	}
	return err
}

// close ends the stage in the plugin.
func (s *Stage) close() {
	running := s.session
	s.session = nil
	if running == nil {
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

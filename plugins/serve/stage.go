package serve

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-relay/weft/pipeline/stage"
	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
)

// stages is the StageService.
type stages struct {
	pluginv1.UnimplementedStageServiceServer
	*server
}

// stageInstance is an open stage.
type stageInstance struct {
	stage.Stage
	mu sync.Mutex // a call that the node has given up may still run
	in []stage.Message
}

// Close ends the stage, where it wants that.
func (i *stageInstance) Close() error {
	if closer, ok := i.Stage.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

func (s stages) Open(_ context.Context, request *pluginv1.StageServiceOpenRequest) (*pluginv1.StageServiceOpenResponse, error) {
	t, err := s.find(pluginv1.Kind_KIND_STAGE, request.Type)
	if err != nil {
		return nil, err
	}
	config, err := t.decode(request.Options)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	made, err := t.stage(config, s.logger(t.name, request.Instance))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &pluginv1.StageServiceOpenResponse{Handle: s.hold(&stageInstance{Stage: made})}, nil
}

func (s stages) Process(ctx context.Context, request *pluginv1.ProcessRequest) (*pluginv1.ProcessResponse, error) {
	found, err := instance[*stageInstance](s.server, request.Handle)
	if err != nil {
		return nil, err
	}
	found.mu.Lock()
	defer found.mu.Unlock()
	found.in = found.in[:0]
	for _, m := range request.Messages {
		found.in = append(found.in, stage.Message{
			ID: m.Id, Topic: m.Topic, Payload: m.Payload, QoS: byte(m.Qos), Retain: m.Retain,
			Time: time.Unix(0, m.TimeUnixNano), Origin: m.Origin,
		})
	}
	out, err := safely(ctx, found, time.Unix(0, request.NowUnixNano))
	if status.Code(err) == codes.Aborted {
		_ = s.drop(request.Handle) // the panic says more
	}
	if err != nil {
		return nil, err
	}
	return answer(request.Messages, out), nil
}

// safely calls the stage. A panic is an error.
func safely(ctx context.Context, i *stageInstance, now time.Time) (out stage.Output, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = status.Error(codes.Aborted, fmt.Sprintf("panic: %v\n%.800s", r, debug.Stack()))
		}
	}()
	return i.Process(ctx, now, i.in)
}

func (s stages) Close(_ context.Context, request *pluginv1.StageServiceCloseRequest) (*pluginv1.StageServiceCloseResponse, error) {
	return &pluginv1.StageServiceCloseResponse{}, s.drop(request.Handle)
}

// answer returns what a stage made of the messages it was given: of one that is as it was, the ID alone.
func answer(given []*pluginv1.Message, out stage.Output) *pluginv1.ProcessResponse {
	response := &pluginv1.ProcessResponse{Kept: out.Kept, Superseded: out.Superseded}
	results := make([]pluginv1.Result, len(out.Messages))
	response.Messages = make([]*pluginv1.Result, len(out.Messages))
	next := 0
	unique := growing(given)
	for i := range out.Messages {
		m, r := &out.Messages[i], &results[i]
		response.Messages[i], r.Id = r, m.ID
		for unique && next < len(given) && given[next].Id < m.ID {
			next++
		}
		if unique && next < len(given) && given[next].Id == m.ID {
			change(r, given[next], m)
		} else { // kept back by an earlier call, out of order, or one of several with its ID
			describe(r, m)
		}
	}
	for _, r := range out.Refused {
		response.Refused = append(response.Refused, &pluginv1.Refusal{Id: r.ID, Reason: r.Reason})
	}
	if !out.Again.IsZero() {
		response.AgainUnixNano = out.Again.UnixNano()
	}
	return response
}

// growing says whether the IDs only grow, as they do unless an earlier stage has split or kept back messages.
func growing(given []*pluginv1.Message) bool {
	for i := 1; i < len(given); i++ {
		if given[i-1].Id >= given[i].Id {
			return false
		}
	}
	return true
}

// change puts into the result what is not as it was.
func change(r *pluginv1.Result, from *pluginv1.Message, to *stage.Message) {
	if to.Topic != from.Topic {
		r.Topic = &to.Topic
	}
	if !same(to.Payload, from.Payload) {
		r.Payload = present(to.Payload)
	}
	if uint32(to.QoS) != from.Qos {
		r.Qos = new(uint32(to.QoS))
	}
	if to.Retain != from.Retain {
		r.Retain = &to.Retain
	}
}

func describe(r *pluginv1.Result, m *stage.Message) {
	r.Topic, r.Payload, r.Qos, r.Retain = &m.Topic, present(m.Payload), new(uint32(m.QoS)), &m.Retain
}

// present returns the payload as one that is there, if empty.
func present(payload []byte) []byte {
	if payload == nil {
		return []byte{}
	}
	return payload
}

// same says whether both are the same piece of memory: payloads are not changed in place.
func same(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

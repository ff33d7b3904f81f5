package plugintest

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
	"github.com/weft-relay/weft/plugins/remote"
)

// calls are those that stages and transports have alike.
type calls struct {
	open  func(t *remote.Trial, typ string, options []byte, handle *uint64) func(context.Context) error
	close func(t *remote.Trial, handle uint64) func(context.Context) error
	// gone checks that a handle is not known.
	gone func(ctx context.Context, t *remote.Trial, handle uint64) error
}

func (r *run) callsOf(kind remote.Kind) calls {
	if kind == remote.KindTransport {
		return calls{openTransport, closeTransport, r.wantNoTransport}
	}
	return calls{openStage, closeStage, r.wantNoStage}
}

func openStage(t *remote.Trial, typ string, options []byte, handle *uint64) func(context.Context) error {
	return func(ctx context.Context) error {
		request := &pluginv1.StageServiceOpenRequest{Type: typ, Options: options, Instance: pluginName}
		answer, err := pluginv1.NewStageServiceClient(t.Conn()).Open(ctx, request)
		*handle = answer.GetHandle()
		return err
	}
}

func closeStage(t *remote.Trial, handle uint64) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := pluginv1.NewStageServiceClient(t.Conn()).Close(ctx, &pluginv1.StageServiceCloseRequest{Handle: handle})
		return err
	}
}

func (r *run) wantNoStage(ctx context.Context, t *remote.Trial, handle uint64) error {
	return r.want(ctx, t, func(ctx context.Context) error {
		_, err := pluginv1.NewStageServiceClient(t.Conn()).Process(ctx, &pluginv1.ProcessRequest{Handle: handle, NowUnixNano: 1})
		return err
	}, codes.NotFound)
}

func openTransport(t *remote.Trial, typ string, options []byte, handle *uint64) func(context.Context) error {
	return func(ctx context.Context) error {
		answer, err := pluginv1.NewTransportServiceClient(t.Conn()).Open(ctx, &pluginv1.TransportServiceOpenRequest{
			Type: typ, Options: options, Instance: pluginName, Node: &pluginv1.Node{Name: "alice"},
		})
		*handle = answer.GetHandle()
		return err
	}
}

func closeTransport(t *remote.Trial, handle uint64) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := pluginv1.NewTransportServiceClient(t.Conn()).Close(ctx, &pluginv1.TransportServiceCloseRequest{Handle: handle})
		return err
	}
}

func (r *run) wantNoTransport(ctx context.Context, t *remote.Trial, handle uint64) error {
	client := pluginv1.NewTransportServiceClient(t.Conn())
	report := r.want(ctx, t, func(ctx context.Context) error {
		_, err := client.Report(ctx, &pluginv1.ReportRequest{Handle: handle})
		return err
	}, codes.NotFound)
	if report != nil {
		return fmt.Errorf("report: %w", report)
	}
	publish := r.want(ctx, t, func(ctx context.Context) error {
		_, err := client.Publish(ctx, &pluginv1.PublishRequest{
			Handle: handle, Topic: "broadcast", Frames: []*pluginv1.Frame{{Uuid: "1", Payload: []byte("1")}},
		})
		return err
	}, codes.NotFound)
	if publish != nil {
		return fmt.Errorf("publish: %w", publish)
	}
	return nil
}

// opened opens an instance of a type with the options of a node.
func (r *run) opened(ctx context.Context, t *remote.Trial, typ remote.Type, node int) (handle uint64, err error) {
	answer, err := r.ask(ctx, t, r.callsOf(typ.Kind).open(t, typ.Name, r.options(node), &handle))
	if err == nil && answer.Code() != codes.OK {
		err = errors.New(answer.Message())
	}
	if err != nil {
		err = fmt.Errorf("open: %w", err)
	}
	return handle, err
}

package remote

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
)

var protoKinds = map[Kind]pluginv1.Kind{KindStage: pluginv1.Kind_KIND_STAGE, KindTransport: pluginv1.Kind_KIND_TRANSPORT}

// Check says what the running program has against options of a type, a JSON object, beyond what [Type.Check] finds. The errors are joined,
// and each begins with the key that it is about. [Program.Try] has it run for that.
func (p *Program) Check(ctx context.Context, kind Kind, typ string, options []byte) error {
	s, err := p.current(ctx)
	if err != nil {
		return p.named(err)
	}
	var answer *pluginv1.CheckResponse
	err = s.call(ctx, func(ctx context.Context) (err error) {
		answer, err = pluginv1.NewPluginServiceClient(s.conn).Check(ctx,
			&pluginv1.CheckRequest{Kind: protoKinds[kind], Type: typ, Options: orEmpty(options)})
		return err
	})
	if fault, ok := errors.AsType[*Fault](err); ok && fault.Code == codes.Unimplemented {
		return nil
	}
	if err != nil {
		return p.named(err)
	}
	var errs []error
	for _, problem := range answer.Problems[:min(len(answer.Problems), maxOptions)] {
		text := clip(problem.GetText(), maxReason)
		if key := clip(problem.GetKey(), maxReason); key != "" {
			text = key + ": " + text
		}
		errs = append(errs, errors.New(text))
	}
	return errors.Join(errs...)
}

package plugintest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
	"github.com/weft-relay/weft/plugins/remote"
)

const (
	noHandle = 1<<63 + 7 // is no handle of any instance
	noType   = "no-such-type-of-anything"
)

// ask makes a call of the protocol's, within the time-out, and returns its status. Only an error that is no answer is one.
func (r *run) ask(ctx context.Context, t *remote.Trial, call func(context.Context) error) (*status.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	err := call(ctx)
	answer := status.Convert(err)
	switch {
	case ctx.Err() != nil:
		_ = t.Close() // it may never answer
		return nil, fmt.Errorf("no answer within %v", r.Timeout)
	case err != nil && t.Health() != nil:
		_ = t.Close()
		return nil, fmt.Errorf("the program does not live on: %w", t.Why())
	}
	return answer, nil
}

// want checks that a call is answered with one of the codes, and with words where that is an error.
func (r *run) want(ctx context.Context, t *remote.Trial, call func(context.Context) error, want ...codes.Code) error {
	answer, err := r.ask(ctx, t, call)
	if err != nil {
		return err
	}
	switch {
	case !slices.Contains(want, answer.Code()):
		return fmt.Errorf("it is answered with %v (%q); the right answer is %v", answer.Code(), answer.Message(), want[0])
	case answer.Code() != codes.OK && answer.Code() != codes.Unimplemented && answer.Message() == "":
		return fmt.Errorf("the error %v has no text; say what is wrong, and what would be right", answer.Code())
	}
	return nil
}

// refused are the codes of options or a type that are wrong.
var refused = []codes.Code{codes.InvalidArgument, codes.Unknown, codes.NotFound, codes.FailedPrecondition, codes.OutOfRange}

// answers looks at what the program says to what is wrong.
func (r *run) answers() {
	for _, kind := range []remote.Kind{remote.KindStage, remote.KindTransport} {
		has := func(t remote.Type) bool { return t.Kind == kind }
		if r.trial == nil || !slices.ContainsFunc(r.has.Types, has) {
			continue
		}
		c, word := r.callsOf(kind), map[remote.Kind]string{remote.KindStage: "Stage", remote.KindTransport: "Transport"}[kind]
		r.check("Unknown"+word+"IsRefused", func(ctx context.Context, t *remote.Trial) error {
			return r.want(ctx, t, c.open(t, noType, []byte("{}"), new(uint64)), refused...)
		})
		r.check("UnknownHandleOfA"+word+"IsNotFound", func(ctx context.Context, t *remote.Trial) error { return c.gone(ctx, t, noHandle) })
		r.check("CloseOfAnUnknown"+word+"IsNoError", func(ctx context.Context, t *remote.Trial) error {
			return r.want(ctx, t, c.close(t, noHandle), codes.OK)
		})
	}
}

// taken looks at whether the type takes the options that it is given, and refuses others. It says whether it can be opened with them.
func (r *run) taken(t remote.Type) bool {
	c := r.callsOf(t.Kind)
	given := len(r.Options) > 0
	if err := t.Check(r.options(0)); err != nil && !given {
		r.skip("everything about it", "it needs options (%v); give --options with it", err)
		return false
	}
	opens := false
	usable := r.check("OptionsAreTaken", func(ctx context.Context, trial *remote.Trial) error {
		for i := range max(1, len(r.Options)) {
			if err := t.Check(r.options(i)); err != nil {
				return err
			}
			var handle uint64
			answer, err := r.ask(ctx, trial, c.open(trial, t.Name, r.options(i), &handle))
			switch {
			case err != nil:
				return fmt.Errorf("open: %w", err)
			case answer.Code() == codes.OK:
				opens = true
			case !given:
				return skip(fmt.Sprintf("it needs options (%s); give --options with it", answer.Message()))
			default:
				return fmt.Errorf("open: %s", answer.Message())
			}
			if err := r.want(ctx, trial, c.close(trial, handle), codes.OK); err != nil {
				return fmt.Errorf("close: %w", err)
			}
			if err := trial.Check(ctx, t.Kind, t.Name, r.options(i)); err != nil {
				return fmt.Errorf("open takes them, and check does not: %w", err)
			}
		}
		return nil
	}) && opens
	r.check("OptionsThatAreNoJSONAreRefused", func(ctx context.Context, trial *remote.Trial) error {
		return r.want(ctx, trial, c.open(trial, t.Name, []byte("no JSON"), new(uint64)), refused...)
	})
	r.check("WrongOptionsAreRefused", func(ctx context.Context, trial *remote.Trial) error {
		options, about := wrong(t, r.options(0))
		if options == nil {
			return skip("it has no option of which its description says what is wrong")
		}
		if err := r.want(ctx, trial, c.open(trial, t.Name, options, new(uint64)), refused...); err != nil {
			return fmt.Errorf("open with %s: %w", about, err)
		}
		answer, err := r.ask(ctx, trial, func(ctx context.Context) error {
			found, err := pluginv1.NewPluginServiceClient(trial.Conn()).Check(ctx, checkRequest(t.Kind, t.Name, options))
			if err == nil && len(found.Problems) == 0 {
				err = status.Error(codes.DataLoss, "")
			}
			return err
		})
		if err == nil && answer.Code() == codes.DataLoss {
			err = fmt.Errorf("check with %s finds no problem, and open does; `weft check` is to find it too", about)
		}
		return err
	})
	return usable
}

func checkRequest(kind remote.Kind, typ string, options []byte) *pluginv1.CheckRequest {
	request := &pluginv1.CheckRequest{Kind: pluginv1.Kind_KIND_STAGE, Type: typ, Options: options}
	if kind == remote.KindTransport {
		request.Kind = pluginv1.Kind_KIND_TRANSPORT
	}
	return request
}

// wrong returns options that are wrong by the type's own description, and what is wrong with them; nil where there are none.
func wrong(t remote.Type, right []byte) (options []byte, about string) {
	values := map[string]any{"bool": "maybe", "integer": "many", "number": "many", "duration": "a while", "size": "much"}
	var all map[string]any
	if json.Unmarshal(right, &all) != nil {
		return nil, ""
	}
	for _, o := range t.Options {
		value, ok := values[o.Type]
		if o.Values != nil {
			value, ok = "no-such-word", true
		}
		if !ok || !isPlain(o.Key) {
			continue
		}
		all[o.Key] = value
		text, err := json.Marshal(all)
		if err != nil {
			return nil, ""
		}
		return text, fmt.Sprintf("%s: %q", o.Key, value)
	}
	return nil, ""
}

// isPlain says whether a key stands in no section.
func isPlain(key string) bool {
	return !slices.Contains([]byte(key), '.')
}

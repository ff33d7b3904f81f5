package plugintest

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/pipeline/stage/stagetest"
	"github.com/weft-relay/weft/plugins/remote"
)

// usual are messages as many a stage knows them, beside those that stagetest makes.
var usual = []stage.Message{
	{Topic: "sensors/1/temp", Payload: []byte("21.5"), QoS: 1},
	{Topic: "sensors/1/temp", Payload: []byte("21.5"), QoS: 1},
	{Topic: "sensors/2", Payload: []byte(`{"temp": 21.5, "unit": "C"}`), QoS: 2, Retain: true},
	{Topic: "sensors/3", Payload: []byte{0x00, 0xd7}},
	{Topic: "doors/front", Payload: []byte("open"), Retain: true},
	{Topic: "doors/front", Retain: true},
}

// ofTheHost is a check of stagetest that sees the process in which it runs alone.
const ofTheHost = "NoGoroutineIsLeft"

// stage holds a type of stage to the contract of stages.
func (r *run) stage(t remote.Type) {
	if !r.taken(t) {
		return
	}
	for _, c := range stagetest.Checks(append(usual, r.Input...)...) {
		if c.Name == ofTheHost {
			continue
		}
		r.check(c.Name, func(ctx context.Context, trial *remote.Trial) error {
			return c.Run(ctx, func() (stage.Stage, error) { return trial.Stage(t.Name, r.options(0), pluginName), nil })
		})
	}
	r.check("ClosedHandleIsNotFound", func(ctx context.Context, trial *remote.Trial) error { return r.wantClosed(ctx, trial, t) })
	r.check("ProgramIsHealthyAfterwards", func(_ context.Context, trial *remote.Trial) error { return trial.Health() })
	r.skip(ofTheHost, "what runs inside of a program does not show from outside")
}

// wantClosed checks that a handle which was closed is known no more, and that closing it again is no error.
func (r *run) wantClosed(ctx context.Context, trial *remote.Trial, t remote.Type) error {
	c := r.callsOf(t.Kind)
	handle, err := r.opened(ctx, trial, t, 0)
	if err != nil {
		return err
	}
	for range 2 {
		if err := r.want(ctx, trial, c.close(trial, handle), codes.OK); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	return c.gone(ctx, trial, handle)
}

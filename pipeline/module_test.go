package pipeline

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/fx"

	"github.com/weft-relay/weft/transports"
)

// endingBroker is a broker whose subscription can be ended, as nothing but Close may end that of a real one.
type endingBroker struct {
	wire
	source chan *message.Message
}

func (*endingBroker) Start(context.Context) error { return nil }
func (*endingBroker) Report() transports.Report   { return transports.Report{State: transports.Up} }
func (b *endingBroker) SubscribeAll(context.Context, map[string]byte) (<-chan *message.Message, error) {
	return b.source, nil
}

// A router has lost its source and ends. Does the whole node end, with status 1, so that whoever runs it starts it anew?
func TestARouterThatEndsByItselfEndsTheProcessWithStatus1(t *testing.T) {
	broker := &endingBroker{source: make(chan *message.Message)}
	app := fx.New(
		fx.NopLogger,
		fx.Supply(Config{
			Node: "alice", DataDir: t.TempDir(),
			Routes: []Route{{Name: "all", Match: []string{"#"}, To: "hub", Mode: Broadcast, Batch: Batch{Count: 1, Bytes: 1}}},
		}, slog.New(slog.DiscardHandler)),
		fx.Provide(func() Broker { return broker }, func() Transports { return Transports{"hub": broker} }),
		Module,
	)
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := app.Wait()
	close(broker.source)
	select {
	case signal := <-ended:
		if signal.ExitCode != 1 {
			t.Errorf("status %d, want 1", signal.ExitCode)
		}
	case <-time.After(10 * time.Second):
		t.Error("the node goes on without its router")
	}
	if err := app.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

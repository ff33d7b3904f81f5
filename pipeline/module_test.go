package pipeline

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/fx"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/transports"
)

// endingBroker is a broker whose subscription can be ended, as nothing but Close may end that of a real one.
type endingBroker struct {
	wire
	source chan *message.Message
}

func (*endingBroker) Start(context.Context) error { return nil }
func (*endingBroker) StopWaiting()                {}
func (b *endingBroker) SubscribeAll(context.Context, map[string]byte) (<-chan *message.Message, error) {
	return b.source, nil
}

// endingNetwork is a transport whose inbox can be ended.
type endingNetwork struct {
	wire
	endInbox context.CancelFunc
}

func (*endingNetwork) Start(context.Context) error { return nil }
func (n *endingNetwork) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if topic == transports.Inbox {
		ctx, n.endInbox = context.WithCancel(ctx)
	}
	frames := make(chan *message.Message)
	context.AfterFunc(ctx, func() { close(frames) })
	return frames, nil
}

func testApp(dir string, broker Broker, network transports.Transport, routes ...Route) *fx.App {
	return fx.New(
		fx.NopLogger,
		fx.Supply(Config{Node: "alice", DataDir: dir, Routes: routes}, stage.Steps{}, slog.New(slog.DiscardHandler)),
		fx.Provide(func() Broker { return broker }, func() Transports { return Transports{"hub": network} }),
		Module(),
	)
}

// Does the whole node end with status 1, so that whoever runs it starts it anew, when what a router hears has ended: the source,
// or one of the subscriptions to a transport, though its other handlers go on?
func TestAHandlerThatEndsByItselfEndsTheProcessWithStatus1(t *testing.T) {
	all := Route{Name: "all", Match: []string{"#"}, To: "hub", Mode: Broadcast, Batch: Batch{Count: 1, Bytes: 1}}
	for what, end := range map[string]func(*endingBroker, *endingNetwork){
		"source": func(b *endingBroker, _ *endingNetwork) { close(b.source) },
		"inbox":  func(_ *endingBroker, n *endingNetwork) { n.endInbox() },
	} {
		t.Run(what, func(t *testing.T) {
			broker := &endingBroker{source: make(chan *message.Message)}
			network := &endingNetwork{}
			app := testApp(t.TempDir(), broker, network, all)
			if err := app.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			ended := app.Wait()
			end(broker, network)
			select {
			case signal := <-ended:
				if signal.ExitCode != 1 {
					t.Errorf("status %d, want 1", signal.ExitCode)
				}
			case <-time.After(10 * time.Second):
				t.Error("the node goes on")
			}
			if what != "source" {
				close(broker.source)
			}
			if err := app.Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}

// A node that cannot be built leaves its data directory to the next one: with a route that has nowhere to go, and then without.
func TestANodeThatCannotBeBuiltLetsGoOfItsDataDirectory(t *testing.T) {
	dir, network := t.TempDir(), &endingNetwork{}
	broken := Route{Name: "all", Match: []string{"a/#/b"}, To: "hub", Mode: Broadcast}
	if err := testApp(dir, &endingBroker{}, network, broken).Err(); err == nil {
		t.Fatal("a route with a broken filter was built")
	}
	if err := testApp(dir, &endingBroker{}, network).Err(); err != nil {
		t.Error(err)
	}
}

package stagetest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/pipeline/stage/stagetest"
)

// shout makes payloads louder, in place.
type shout struct{}

func (shout) Process(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	for _, m := range in {
		if len(m.Payload) > 0 {
			m.Payload[0] = '!'
		}
	}
	return stage.Output{Messages: in}, nil
}

func ExampleChecks() {
	hello := stage.Message{Topic: "greetings", Payload: []byte("hello")}
	for _, check := range stagetest.Checks(hello) {
		if err := check.Run(context.Background(), func() (stage.Stage, error) { return shout{}, nil }); err != nil {
			fmt.Printf("%s: %v\n", check.Name, err)
		}
	}
	// Output:
	// InputIsNotChanged: call 1: the stage has changed bytes of a payload, or beside it
	// LargeMessagesKeepTheRules: call 1: the stage has changed bytes of a payload, or beside it
}

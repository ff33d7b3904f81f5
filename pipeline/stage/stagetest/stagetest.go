// Package stagetest holds stages to the promises of package stage. A stage's test calls [Test] with a constructor and messages that
// make the stage do what it is for; [Checks] is the same for whoever has no *testing.T.
package stagetest

import (
	"context"
	"testing"

	"github.com/weft-relay/weft/pipeline/stage"
)

// Case is a stage to be tested.
type Case struct {
	// New makes a stage. Every check makes its own, some of them several. One that is an io.Closer is closed after its check.
	New func() stage.Stage
	// Input are messages that make the stage do what it is for. The kit mixes them with others of its own making, repeats them, and
	// gives them IDs and times.
	Input []stage.Message
}

// Test runs every check as a test of its own. It may not run beside other tests, whose goroutines it would take for leaked ones.
func Test(t *testing.T, c Case) {
	t.Helper()
	for _, check := range Checks(c.Input...) {
		t.Run(check.Name, func(t *testing.T) {
			if err := check.Run(t.Context(), func() (stage.Stage, error) { return c.New(), nil }); err != nil {
				t.Error(err)
			}
		})
	}
}

// Check is one rule of the contract.
type Check struct {
	Name string // is the rule
	// Run makes stages and returns an error that says how they break the rule. It holds no stage to other rules, but one that panics,
	// or that never stops failing, meets none. The clock that stages see is simulated; nothing waits.
	Run func(ctx context.Context, newStage func() (stage.Stage, error)) error
}

// Checks returns all checks, in the order from plain to intricate. Input is as in [Case].
func Checks(input ...stage.Message) []Check {
	judged := func(name string, judge func(*trace) error) Check {
		return Check{name, func(ctx context.Context, newStage newFunc) error { return judgeAll(ctx, newStage, input, judge) }}
	}
	compared := func(name string, differ way) Check {
		return Check{name, func(ctx context.Context, newStage newFunc) error { return compareAll(ctx, newStage, input, differ) }}
	}
	return []Check{
		{"EmptyCallIsHarmless", emptyCallIsHarmless},
		judged("MessagesAreValid", messagesAreValid),
		judged("IDsAreKnown", idsAreKnown),
		judged("EachMessageIsInOneList", eachIsInOneList),
		judged("KeptMessagesEnd", keptMessagesEnd),
		judged("RefusalsHaveReasons", refusalsHaveReasons),
		judged("TopicsKeepTheirOrder", topicsKeepTheirOrder),
		judged("InputIsNotChanged", inputIsNotChanged),
		judged("NoBusyLoop", noBusyLoop),
		compared("SameInputGivesSameOutput", nothingDiffers),
		compared("InputIsNotUsedAfterReturn", inputIsOverwritten),
		compared("FailedCallCanBeRepeated", contextEndsFirst),
		{"StagesShareNothing", func(ctx context.Context, newStage newFunc) error { return stagesShareNothing(ctx, newStage, input) }},
		{"LargeMessagesKeepTheRules", largeMessagesKeepTheRules},
		{"NoGoroutineIsLeft", func(ctx context.Context, newStage newFunc) error { return noGoroutineIsLeft(ctx, newStage, input) }},
	}
}

type newFunc = func() (stage.Stage, error)

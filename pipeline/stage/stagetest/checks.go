package stagetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"go.uber.org/goleak"

	"github.com/weft-relay/weft/pipeline/stage"
)

func judgeAll(ctx context.Context, newStage newFunc, input []stage.Message, judge func(*trace) error) error {
	for _, s := range scripts(input) {
		tr, err := play(ctx, newStage, s, nothingDiffers)
		if err != nil {
			return err
		}
		if err := judge(tr); err != nil {
			return err
		}
	}
	return nil
}

// compareAll plays each script twice with fresh stages, the second time in the way given.
func compareAll(ctx context.Context, newStage newFunc, input []stage.Message, second way) error {
	for _, s := range scripts(input) {
		want, err := play(ctx, newStage, s, nothingDiffers)
		if err != nil {
			return err
		}
		got, err := play(ctx, newStage, s, second)
		if err != nil {
			return err
		}
		if err := sameCalls(want.calls, got.calls); err != nil {
			return err
		}
	}
	return nil
}

func sameCalls(want, got []call) error {
	for i := range min(len(want), len(got)) {
		if text := difference(want[i].out, got[i].out); text != "" {
			return fmt.Errorf("call %d: %s", i+1, text)
		}
	}
	if len(want) != len(got) {
		return fmt.Errorf("the stage is through after %d calls, and after %d", len(want), len(got))
	}
	return nil
}

// difference says where two outputs differ that should not, or "". Only for Messages does the order count.
func difference(want, got stage.Output) string {
	for i := range min(len(want.Messages), len(got.Messages)) {
		if a, b := want.Messages[i], got.Messages[i]; !sameMessage(a, b) {
			return fmt.Sprintf("message %d of the output is %s, and another time %s", i+1, show(a), show(b))
		}
	}
	byID := func(a, b stage.Refusal) int { return cmp.Compare(a.ID, b.ID) }
	switch {
	case len(want.Messages) != len(got.Messages):
		return fmt.Sprintf("%d messages come out, and another time %d", len(want.Messages), len(got.Messages))
	case !slices.Equal(sorted(want.Kept), sorted(got.Kept)):
		return fmt.Sprintf("Kept is %v, and another time %v", want.Kept, got.Kept)
	case !slices.Equal(sorted(want.Superseded), sorted(got.Superseded)):
		return fmt.Sprintf("Superseded is %v, and another time %v", want.Superseded, got.Superseded)
	case !slices.Equal(slices.SortedFunc(slices.Values(want.Refused), byID), slices.SortedFunc(slices.Values(got.Refused), byID)):
		return fmt.Sprintf("Refused is %v, and another time %v", want.Refused, got.Refused)
	case !want.Again.Equal(got.Again):
		return fmt.Sprintf("Again is %v, and another time %v", want.Again, got.Again)
	}
	return ""
}

func sorted(ids []uint64) []uint64 { return slices.Sorted(slices.Values(ids)) }

// show keeps an error short.
func show(m stage.Message) string {
	return fmt.Sprintf("{ID %d, topic %.60q, payload %.60q, QoS %d, retain %t}", m.ID, m.Topic, m.Payload, m.QoS, m.Retain)
}

func emptyCallIsHarmless(ctx context.Context, newStage newFunc) error {
	tr, err := play(ctx, newStage, script{{}, {}}, nothingDiffers)
	if err != nil {
		return err
	}
	for _, c := range tr.calls {
		if n := len(c.out.Messages) + len(c.out.Kept) + len(c.out.Superseded) + len(c.out.Refused); n > 0 {
			return fmt.Errorf("a stage that was given nothing has %d IDs in its lists", n)
		}
	}
	return nil
}

// stagesShareNothing calls two stages in turn, and looks at what the one has returned after the other was called.
func stagesShareNothing(ctx context.Context, newStage newFunc, input []stage.Message) error {
	all := scripts(input)
	alone, err := play(ctx, newStage, all[0], nothingDiffers)
	if err != nil {
		return err
	}
	one, err := newStage()
	if err != nil {
		return fmt.Errorf("new stage: %w", err)
	}
	other, err := newStage()
	if err != nil {
		return cmp.Or(end(one), fmt.Errorf("new stage: %w", err))
	}
	err = inTurn(ctx, one, other, alone.calls)
	return cmp.Or(err, end(one), end(other))
}

func inTurn(ctx context.Context, one, other stage.Stage, calls []call) error {
	for i, c := range calls {
		given, _ := lay(c.in)
		out, err := processAgain(ctx, one, c, given)
		if err != nil {
			return err
		}
		// The same messages with other payloads: what is equal or newest for the one stage is not for the other.
		others := slices.Clone(c.in)
		for k := range others {
			others[k].Payload = append([]byte("other "), others[k].Payload...)
		}
		if _, err := processAgain(ctx, other, c, others); err != nil {
			return err
		}
		if text := difference(c.out, out); text != "" {
			return fmt.Errorf("call %d, with another stage called in turn: %s", i+1, text)
		}
	}
	return nil
}

// processAgain makes a call of a trace at its time, and repeats it while it fails.
func processAgain(ctx context.Context, s stage.Stage, c call, in []stage.Message) (out stage.Output, err error) {
	for range attempts {
		if out, err = process(ctx, s, c.now, in); err == nil {
			break
		}
	}
	return out, err
}

func largeMessagesKeepTheRules(ctx context.Context, newStage newFunc) error {
	tr, err := play(ctx, newStage, largeScript(), nothingDiffers)
	if err != nil {
		return err
	}
	return allRules(tr)
}

func noGoroutineIsLeft(ctx context.Context, newStage newFunc, input []stage.Message) error {
	before := goleak.IgnoreCurrent()
	if _, err := play(ctx, newStage, scripts(input)[0], nothingDiffers); err != nil {
		return err
	}
	return goleak.Find(before)
}

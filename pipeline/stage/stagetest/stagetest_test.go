package stagetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/pipeline/stage/stagetest"
)

// process is a stage that is one function.
type process func(ctx context.Context, now time.Time, in []stage.Message) (stage.Output, error)

func (p process) Process(ctx context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
	return p(ctx, now, in)
}

func passAll(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	return stage.Output{Messages: in}, nil
}

func TestStageThatPassesAllMeetsTheContract(t *testing.T) {
	stagetest.Test(t, stagetest.Case{New: func() stage.Stage { return process(passAll) }})
}

// pairs keeps every message back until the next call, and asks for that after a second.
type pairs struct{ kept []stage.Message }

func (p *pairs) Process(ctx context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
	if err := ctx.Err(); err != nil {
		return stage.Output{}, err
	}
	out := stage.Output{Messages: p.kept}
	p.kept = nil
	for _, m := range in {
		m.Payload = bytes.Clone(m.Payload)
		p.kept = append(p.kept, m)
		out.Kept = append(out.Kept, m.ID)
		out.Again = now.Add(time.Second)
	}
	return out, nil
}

func TestStageThatKeepsMessagesMeetsTheContract(t *testing.T) {
	stagetest.Test(t, stagetest.Case{New: func() stage.Stage { return new(pairs) }})
}

// tens lets messages go in tens, without ever asking to be called.
func TestStageThatWaitsForMoreMeetsTheContract(t *testing.T) {
	stagetest.Test(t, stagetest.Case{New: func() stage.Stage {
		var kept []stage.Message
		return process(func(_ context.Context, _ time.Time, in []stage.Message) (out stage.Output, _ error) {
			before := len(kept)
			for _, m := range in {
				m.Payload = bytes.Clone(m.Payload)
				kept = append(kept, m)
			}
			ready := len(kept) / 10 * 10
			out.Messages, kept = kept[:ready:ready], kept[ready:]
			for _, m := range kept[max(before-ready, 0):] {
				out.Kept = append(out.Kept, m.ID)
			}
			return out, nil
		})
	}})
}

func TestStageMaySplitRefuseAndDrop(t *testing.T) {
	stagetest.Test(t, stagetest.Case{New: func() stage.Stage {
		return process(func(_ context.Context, _ time.Time, in []stage.Message) (out stage.Output, _ error) {
			for _, m := range in {
				switch m.QoS {
				case 0:
					out.Messages = append(out.Messages, m, m)
				case 1:
					out.Refused = append(out.Refused, stage.Refusal{ID: m.ID, Reason: "QoS 1"})
				}
			}
			return out, nil
		})
	}})
}

// closing runs a goroutine until it is closed.
type closing struct {
	pairs
	stop chan struct{}
	done sync.WaitGroup
}

func (c *closing) Close() error {
	close(c.stop)
	c.done.Wait()
	return nil
}

func TestStageIsClosed(t *testing.T) {
	stagetest.Test(t, stagetest.Case{New: func() stage.Stage {
		c := &closing{stop: make(chan struct{})}
		c.done.Go(func() { <-c.stop })
		return c
	}})
}

// verdict runs the checks of these names, or all, and returns the names of those that fail, with what they say.
func verdict(t *testing.T, newStage func() (stage.Stage, error), names ...string) map[string]string {
	failed := map[string]string{}
	for _, check := range stagetest.Checks(stage.Message{Topic: "lamp", Payload: []byte("on")}) {
		if len(names) > 0 && !slices.Contains(names, check.Name) {
			continue
		}
		if err := check.Run(t.Context(), newStage); err != nil {
			failed[check.Name] = err.Error()
		}
	}
	return failed
}

func TestStageThatCannotBeMadeFailsEveryCheck(t *testing.T) {
	failed := verdict(t, func() (stage.Stage, error) { return nil, errors.New("no such program") })
	require.Len(t, failed, len(stagetest.Checks()))
	for _, text := range failed {
		require.Equal(t, "new stage: no such program", text)
	}
}

func TestBrokenStagesAreCaught(t *testing.T) {
	for _, b := range broken() {
		t.Run(b.name, func(t *testing.T) {
			failed := verdict(t, func() (stage.Stage, error) { return b.new(), nil }, append(b.spared, b.check)...)
			require.Contains(t, failed, b.check)
			require.Contains(t, failed[b.check], b.says)
			for _, other := range b.spared {
				require.NotContains(t, failed, other)
			}
		})
	}
}

// TestEveryCheckCatchesSomething holds the table of broken stages to the list of checks.
func TestEveryCheckCatchesSomething(t *testing.T) {
	caught := map[string]bool{}
	for _, b := range broken() {
		caught[b.check] = true
	}
	for _, check := range stagetest.Checks() {
		require.True(t, caught[check.Name], "no broken stage for %s", check.Name)
	}
}

func BenchmarkEmptyStage(b *testing.B) {
	const batch = 100
	in := make([]stage.Message, batch)
	for i := range in {
		in[i] = stage.Message{ID: uint64(i + 1), Topic: fmt.Sprintf("sensors/%d/temp", i), Payload: []byte("21.5"), QoS: 1}
	}
	var s stage.Stage = process(passAll)
	now := time.Unix(1_700_000_000, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Process(b.Context(), now, in); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/message")
}

package pipeline

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/stage"
)

// stageFunc is a stage without state of its own.
type stageFunc func(now time.Time, in []stage.Message) (stage.Output, error)

func (f stageFunc) Process(_ context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
	return f(now, in)
}

// stepOf is a step whose stage is the same each time that it is made.
func stepOf(name string, f stageFunc) stage.Step {
	return stage.Step{Name: name, New: func() (stage.Stage, error) { return f, nil }}
}

// marking appends its mark to each payload and counts what it was given.
func marking(mark string, given *[]string) stageFunc {
	return func(_ time.Time, in []stage.Message) (stage.Output, error) {
		out := slices.Clone(in)
		for i := range out {
			*given = append(*given, string(in[i].Payload))
			out[i].Payload = []byte(string(in[i].Payload) + mark)
		}
		return stage.Output{Messages: out}, nil
	}
}

func turnOf(first uint64, payloads ...string) *turn {
	t := &turn{}
	for i, p := range payloads {
		id := first + uint64(i)
		t.in = append(t.in, stage.Message{ID: id, Topic: "t", Payload: []byte(p)})
		t.touched = append(t.touched, id)
	}
	return t
}

func payloadsOf(msgs []stage.Message) (all []string) {
	for i := range msgs {
		all = append(all, string(msgs[i].Payload))
	}
	return all
}

// runUntil repeats a turn until it is through, and returns the errors on the way.
func runUntil(t *testing.T, c chain, tn *turn) (errs []error) {
	t.Helper()
	for range 20 {
		err := c.run(t.Context(), tn)
		if err == nil {
			return errs
		}
		errs = append(errs, err)
	}
	t.Fatalf("not through after 20 attempts: %v", errs)
	return nil
}

func TestStagesFollowEachOther(t *testing.T) {
	var first, second []string
	c := newChain([]stage.Step{stepOf("a", marking("a", &first)), stepOf("b", marking("b", &second))})
	tn := turnOf(1, "1", "2")
	if errs := runUntil(t, c, tn); errs != nil {
		t.Fatal(errs)
	}
	if got := payloadsOf(tn.out); !slices.Equal(got, []string{"1ab", "2ab"}) {
		t.Errorf("they gave %q", got)
	}
}

// A later stage does not answer twice. Does the first one see the messages once, so that its state is right?
func TestNoStageSeesAMessageTwiceWhenALaterOneFails(t *testing.T) {
	var first []string
	failures := 2
	c := newChain([]stage.Step{
		stepOf("a", marking("a", &first)),
		stepOf("b", func(_ time.Time, in []stage.Message) (stage.Output, error) {
			if failures--; failures >= 0 {
				return stage.Output{}, errors.New("away")
			}
			return stage.Output{Messages: in}, nil
		}),
	})
	tn := turnOf(1, "1", "2")
	errs := runUntil(t, c, tn)
	if len(errs) != 2 || errs[0].Error() != "stage b: away" {
		t.Errorf("errors: %v", errs)
	}
	if !slices.Equal(first, []string{"1", "2"}) {
		t.Errorf("the first one was given %q", first)
	}
	if got := payloadsOf(tn.out); !slices.Equal(got, []string{"1a", "2a"}) {
		t.Errorf("they gave %q", got)
	}
}

// One of many messages makes the stage panic. Is that one alone refused, and the rest passed on in order?
func TestMessageThatCrashesAStageIsFoundAndRefused(t *testing.T) {
	c := newChain([]stage.Step{stepOf("a", func(_ time.Time, in []stage.Message) (stage.Output, error) {
		for i := range in {
			if string(in[i].Payload) == "poison" {
				panic("out of range")
			}
		}
		return stage.Output{Messages: in}, nil
	})})
	tn := turnOf(1, "1", "2", "poison", "4", "5")
	errs := runUntil(t, c, tn)
	if len(errs) != maxCrashes || !errors.Is(errs[0], stage.ErrCrashed) {
		t.Errorf("errors: %v", errs)
	}
	if got := payloadsOf(tn.out); !slices.Equal(got, []string{"1", "2", "4", "5"}) {
		t.Errorf("it gave %q", got)
	}
	if len(tn.refused) != 1 || tn.refused[0].ID != 3 || !strings.Contains(tn.refused[0].reason, "stage a: stage crashed: out of range") {
		t.Errorf("refused: %+v", tn.refused)
	}
}

// A stage crashes over whatever it is given. Do its messages wait, instead of going to the dead letters one by one?
func TestStageThatAlwaysCrashesKeepsItsMessagesWaiting(t *testing.T) {
	broken := true
	c := newChain([]stage.Step{stepOf("a", func(_ time.Time, in []stage.Message) (stage.Output, error) {
		if broken {
			panic("no modem")
		}
		return stage.Output{Messages: in}, nil
	})})
	tn := turnOf(1, "1", "2", "3")
	for range maxUnproven - 1 {
		if err := c.run(t.Context(), tn); !errors.Is(err, stage.ErrCrashed) {
			t.Fatal(err)
		}
	}
	broken = false
	if errs := runUntil(t, c, tn); errs != nil || len(tn.refused) != 0 || len(tn.out) != 3 {
		t.Errorf("errors %v, refused %v, gave %v", errs, tn.refused, tn.out)
	}
}

// A program that is away for long has crashed over nothing: its messages wait.
func TestStageThatIsAwayRefusesNothing(t *testing.T) {
	away := 10
	c := newChain([]stage.Step{{Name: "a", New: func() (stage.Stage, error) {
		if away--; away >= 0 {
			return nil, errors.New("not started")
		}
		return stageFunc(func(_ time.Time, in []stage.Message) (stage.Output, error) { return stage.Output{Messages: in}, nil }), nil
	}}})
	tn := turnOf(1, "1")
	if errs := runUntil(t, c, tn); len(errs) != 10 {
		t.Errorf("errors: %v", errs)
	}
	if len(tn.refused) != 0 || len(tn.out) != 1 {
		t.Errorf("refused %v, gave %v", tn.refused, tn.out)
	}
}

// keeper keeps every message until it is called without any.
type keeper struct{ kept []stage.Message }

func (k *keeper) Process(_ context.Context, now time.Time, in []stage.Message) (out stage.Output, _ error) {
	if len(in) == 0 {
		out.Messages, k.kept = k.kept, nil
		return out, nil
	}
	for _, m := range in {
		k.kept, out.Kept = append(k.kept, m), append(out.Kept, m.ID)
	}
	out.Again = now
	return out, nil
}

// What a stage keeps back stays in the lane until it is given, and a stage that has lost its state is given it again.
func TestWhatAStageKeepsIsHeldAndGivenAgainWhenItsStateIsLost(t *testing.T) {
	made := 0
	c := newChain([]stage.Step{{Name: "keep", New: func() (stage.Stage, error) { made++; return &keeper{}, nil }}})
	tn := turnOf(1, "1", "2")
	if errs := runUntil(t, c, tn); errs != nil || len(tn.out) != 0 || !c.holds(1) || !c.holds(2) {
		t.Fatalf("errors %v, gave %v, holds %v %v", errs, tn.out, c.holds(1), c.holds(2))
	}
	c[0].stage = nil // as after a crash
	if c.again().IsZero() {
		t.Fatal("it is not called again")
	}
	tn = &turn{}
	if errs := runUntil(t, c, tn); errs != nil || made != 2 || len(tn.out) != 0 || !c.holds(1) || !c.holds(2) {
		t.Fatalf("made anew: errors %v, made %d, gave %v", errs, made, tn.out)
	}
	tn = &turn{}
	if errs := runUntil(t, c, tn); errs != nil {
		t.Fatal(errs)
	}
	slices.Sort(tn.touched)
	if got := payloadsOf(tn.out); !slices.Equal(got, []string{"1", "2"}) || !slices.Equal(slices.Compact(tn.touched), []uint64{1, 2}) || c.holds(1) {
		t.Errorf("gave %q, touched %v, holds %v", got, tn.touched, c.holds(1))
	}
	if !c.again().IsZero() {
		t.Error("it is called again for nothing")
	}
}

// A stage splits a message, and a later one keeps all parts and gives them one by one. Is the message held until the last part is given?
func TestSplitMessageIsHeldUntilItsLastPartIsGiven(t *testing.T) {
	var kept []stage.Message
	c := newChain([]stage.Step{
		stepOf("split", func(_ time.Time, in []stage.Message) (out stage.Output, _ error) {
			for _, m := range in {
				for range 3 {
					out.Messages = append(out.Messages, m)
				}
			}
			return out, nil
		}),
		stepOf("drip", func(now time.Time, in []stage.Message) (out stage.Output, _ error) {
			if len(in) == 0 {
				out.Messages, kept = kept[:1:1], kept[1:]
			}
			for _, m := range in {
				kept, out.Kept = append(kept, m), append(out.Kept, m.ID)
			}
			if len(kept) > 0 {
				out.Again = now
			}
			return out, nil
		}),
	})
	runUntil(t, c, turnOf(7, "x"))
	for left := range 3 {
		if !c.holds(7) {
			t.Fatalf("not held after %d parts", left)
		}
		tn := &turn{}
		runUntil(t, c, tn)
		if len(tn.out) != 1 || tn.out[0].ID != 7 || !slices.Equal(tn.touched, []uint64{7}) {
			t.Errorf("gave %+v, touched %v", tn.out, tn.touched)
		}
	}
	if c.holds(7) || !c.again().IsZero() {
		t.Error("held, or called again, for ever")
	}
}

// A stage that answers what it was not asked is made anew, and nothing of its answer counts.
func TestAnswerThatBreaksTheContractCountsForNothing(t *testing.T) {
	for name, out := range map[string]stage.Output{
		"it gave a message with ID 99":  {Messages: []stage.Message{{ID: 99, Topic: "t"}}},
		"it keeps ID 99, which is none": {Kept: []uint64{99}},
	} {
		made := 0
		c := newChain([]stage.Step{{Name: "liar", New: func() (stage.Stage, error) {
			made++
			first := made == 1
			return stageFunc(func(_ time.Time, in []stage.Message) (stage.Output, error) {
				if first {
					return out, nil
				}
				return stage.Output{Messages: in}, nil
			}), nil
		}}})
		tn := turnOf(1, "1", "2")
		errs := runUntil(t, c, tn)
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), name) || made != 2 {
			t.Errorf("errors %v, made %d", errs, made)
		}
		if got := payloadsOf(tn.out); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("gave %q", got)
		}
	}
}

// What no broker takes would have its session ended, again and again: it goes to the dead letters, and the rest goes on.
func TestWhatAStageMakesThatNoBrokerTakesIsRefused(t *testing.T) {
	c := newChain([]stage.Step{stepOf("wild", func(_ time.Time, in []stage.Message) (out stage.Output, _ error) {
		out.Messages = slices.Clone(in)
		out.Messages[0].Topic = "a/#"
		out.Messages[1].QoS = 3
		out.Messages[2].Topic = "fine"
		return out, nil
	})})
	tn := turnOf(1, "1", "2", "3")
	if errs := runUntil(t, c, tn); errs != nil {
		t.Fatal(errs)
	}
	if len(tn.out) != 1 || tn.out[0].Topic != "fine" || len(tn.refused) != 2 || tn.refused[0].Topic != "t" {
		t.Errorf("gave %+v, refused %+v", tn.out, tn.refused)
	}
}

// A stage asks to be called, and panics whenever it is called for that alone. Do the messages behind go on?
func TestStageThatCrashesOverNothingHoldsUpNothing(t *testing.T) {
	c := newChain([]stage.Step{stepOf("moody", func(now time.Time, in []stage.Message) (stage.Output, error) {
		if len(in) == 0 {
			panic("nothing to do")
		}
		return stage.Output{Messages: in, Again: now}, nil
	})})
	runUntil(t, c, turnOf(1, "1"))
	if errs := runUntil(t, c, &turn{}); len(errs) != 1 {
		t.Errorf("errors: %v", errs)
	}
	if !c.again().IsZero() {
		t.Error("it is called again at once")
	}
}

// A stage makes two messages of one, of which no broker takes the second. Does the first one leave the lane before the stages only when
// it is behind them?
func TestPartOfASplitMessageIsRefused(t *testing.T) {
	store := testStore(t)
	s, _ := testStaging(t, store, &wire{}, stepOf("split", func(_ time.Time, in []stage.Message) (out stage.Output, _ error) {
		for _, m := range in {
			good, bad := m, m
			good.Topic, bad.Topic = "fine", "a/#"
			out.Messages = append(out.Messages, good, bad)
		}
		return out, nil
	}))
	s.put(t, frame.Message{Topic: "t", QoS: 1})
	run, err := s.lane.Next(t.Context(), 10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	tn := s.begin(run)
	runUntil(t, s.chain, tn)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.finish(t.Context(), tn); err == nil {
		t.Fatal("stored in a closed store")
	}
	if got := s.lane.Stats(); got.Depth != 1 {
		t.Errorf("it has left: %+v", got)
	}
}

// BenchmarkEmptyStage is what a stage that passes everything on costs a message beside nothing at all, in runs of 100.
func BenchmarkEmptyStage(b *testing.B) {
	empty := stepOf("empty", func(_ time.Time, in []stage.Message) (stage.Output, error) { return stage.Output{Messages: in}, nil })
	run := make([]stage.Message, 100)
	for i := range run {
		run[i] = stage.Message{ID: uint64(i), Topic: "a/b", Payload: []byte("21.5")}
	}
	c := newChain([]stage.Step{empty})
	for b.Loop() {
		if err := c.run(b.Context(), &turn{in: run}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(run)), "ns/message")
}

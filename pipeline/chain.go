package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/stage"
)

// chain is the stages of one lane, in order. It is used by one goroutine at a time.
type chain []*chainLink

// chainLink is a stage of a chain, and what it has kept back.
type chainLink struct {
	step  stage.Step
	stage stage.Stage                // nil until it is needed, and after it has lost its state
	kept  map[uint64][]stage.Message // by ID
	again time.Time                  // when it wants to be called even if nothing comes
	tries int                        // at the first message of those it is given, since it crashed over them; 0 if it has not
	given []stage.Message            // scratch
}

// maxCrashes is how often a stage may crash over one message alone before that goes to the dead letters.
const maxCrashes = 3

func newChain(steps []stage.Step) chain {
	c := make(chain, len(steps))
	for i, s := range steps {
		c[i] = &chainLink{step: s, kept: make(map[uint64][]stage.Message)}
	}
	return c
}

// turn is one run of messages on its way through a chain. After an error it goes on where it was: no stage sees a message twice.
type turn struct {
	at      int             // index of the link that is next
	in      []stage.Message // what that one is to be given
	called  bool            // it has been called in this turn
	out     []stage.Message // what it has given so far; after the last link, of the whole chain
	touched []uint64        // IDs of the messages that came, and of those that were let go
	refused []refusal

	addressed bool // what follows is made
	entries   []lanes.Entry
	dropped   []uint64 // IDs of messages that no stage has passed on
	unwanted  []uint64 // and of those of which nobody wants what they have become
}

// refusal is a message that a stage refuses.
type refusal struct {
	stage.Message
	reason string
}

// run takes a turn through the chain. An error says which stage does not answer.
func (c chain) run(ctx context.Context, t *turn) error {
	for ; t.at < len(c); t.at++ {
		l := c[t.at]
		for len(t.in) > 0 || !t.called && l.due(time.Now()) {
			if err := l.call(ctx, t); err != nil {
				return fmt.Errorf("stage %s: %w", l.step.Name, err)
			}
		}
		l.tries = 0
		t.in, t.out, t.called = t.out, nil, false
	}
	t.in, t.out = nil, t.in
	return nil
}

// again returns when a turn is to be run even if nothing comes; zero means not before something does.
func (c chain) again() (first time.Time) {
	for _, l := range c {
		if !l.again.IsZero() && (first.IsZero() || l.again.Before(first)) {
			first = l.again
		}
	}
	return first
}

// holds reports whether a stage keeps the message back.
func (c chain) holds(id uint64) bool {
	return slices.ContainsFunc(c, func(l *chainLink) bool { return l.kept[id] != nil })
}

func (l *chainLink) due(now time.Time) bool { return !l.again.IsZero() && !now.Before(l.again) }

// call gives the stage the messages of the turn: all at once or, after it has crashed over them, one at a time.
func (l *chainLink) call(ctx context.Context, t *turn) error {
	if err := l.revive(t); err != nil {
		return err
	}
	n := len(t.in)
	if l.tries > 0 {
		n = min(n, 1)
	}
	l.given = append(l.given[:0], t.in[:n]...)
	now := time.Now()
	out, err := l.process(ctx, now, l.given)
	switch {
	case err == nil:
		l.again = out.Again
		l.keep(t, out, t.in[:n])
		t.in, t.called = t.in[n:], true
		if l.tries > 0 {
			l.tries = 1
		}
		return nil
	case errors.Is(err, stage.ErrCrashed) && n == 1 && l.tries >= maxCrashes:
		t.refused = append(t.refused, refusal{t.in[0], fmt.Sprintf("stage %s: %v, %d times", l.step.Name, err, l.tries)})
		t.in, l.stage, l.tries = t.in[1:], nil, 1
		return nil
	case errors.Is(err, stage.ErrCrashed):
		l.stage = nil
		l.tries++
	case errors.Is(err, stage.ErrLost):
		l.stage = nil
	}
	return err
}

// revive makes the stage where there is none: one that has lost its state is given again what it had kept back, before all else.
func (l *chainLink) revive(t *turn) (err error) {
	if l.stage != nil {
		return nil
	}
	if l.stage, err = l.step.New(); err != nil {
		return err
	}
	var again []stage.Message
	for _, id := range slices.Sorted(maps.Keys(l.kept)) {
		again = append(again, l.kept[id]...)
		t.touched = append(t.touched, id)
	}
	clear(l.kept)
	t.in = append(again, t.in...)
	return nil
}

// process calls the stage. A panic is an error.
func (l *chainLink) process(ctx context.Context, now time.Time, in []stage.Message) (out stage.Output, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", stage.ErrCrashed, p)
		}
	}()
	return l.stage.Process(ctx, now, in)
}

// keep takes note of what the stage has made of the messages.
func (l *chainLink) keep(t *turn, out stage.Output, in []stage.Message) {
	t.out = append(t.out, out.Messages...)
	for _, r := range out.Refused {
		for i := range in {
			if in[i].ID == r.ID {
				t.refused = append(t.refused, refusal{in[i], "stage " + l.step.Name + ": " + r.Reason})
			}
		}
	}
	if len(l.kept) > 0 {
		for i := range out.Messages {
			l.letGo(t, out.Messages[i].ID)
		}
		for _, id := range out.Superseded {
			l.letGo(t, id)
		}
	}
	for _, id := range out.Kept {
		for i := range in {
			if in[i].ID == id {
				l.kept[id] = append(l.kept[id], in[i])
			}
		}
	}
}

func (l *chainLink) letGo(t *turn, id uint64) {
	if l.kept[id] != nil {
		delete(l.kept, id)
		t.touched = append(t.touched, id)
	}
}

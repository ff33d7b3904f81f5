package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/stage"
)

// chain is the stages of one lane, in order. It is used by one goroutine at a time.
type chain []*chainLink

// chainLink is a stage of a chain, and what it has kept back. It numbers the messages that its stage is given, for several of them may stem
// from one.
type chainLink struct {
	step  stage.Step
	stage stage.Stage              // nil until it is needed, and after it has lost its state
	next  uint64                   // number of the next message that the stage is given
	kept  map[uint64]stage.Message // by that number
	held  map[uint64]int           // how many of them stem from a message of the lane, by ID
	again time.Time                // when it wants to be called even if nothing comes
	tries int                      // at the first message of those it is given, since it crashed over them; 0 if it has not

	proven bool            // it has processed messages since one went to the dead letters
	given  []stage.Message // scratch: what the stage is given
	gave   []stage.Message // scratch: what it gives in a turn
}

// maxCrashes is how often a stage may crash over one message alone before that goes to the dead letters. Where it has processed nothing
// since the last one that went there, the stage is to blame rather than the message: then it is maxUnproven, and messages wait.
const (
	maxCrashes  = 3
	maxUnproven = 50
)

func newChain(steps []stage.Step) chain {
	c := make(chain, len(steps))
	for i, s := range steps {
		c[i] = &chainLink{step: s, kept: make(map[uint64]stage.Message), held: make(map[uint64]int)}
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

	buried    map[uint64]bool // IDs of messages that stages have refused, as dead letters
	addressed bool            // what follows is made
	entries   []lanes.Entry
	dropped   []uint64 // IDs of messages that no stage has passed on
	dead      []uint64 // of those of which only dead letters are left
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
		if t.out == nil {
			t.out = l.gave[:0]
		}
		for len(t.in) > 0 || !t.called && l.due(time.Now()) {
			if err := l.call(ctx, t); err != nil {
				return fmt.Errorf("stage %s: %w", l.step.Name, err)
			}
		}
		l.tries, l.gave = 0, t.out
		t.in, t.out, t.called = t.out, nil, false
	}
	t.out = t.in // and again, if what follows has failed
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
	return slices.ContainsFunc(c, func(l *chainLink) bool { return l.held[id] > 0 })
}

// close closes the stages. The chain is not used any more.
func (c chain) close() {
	for _, l := range c {
		l.lose()
	}
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
	for i := range l.given {
		l.given[i].ID = l.next + uint64(i)
	}
	out, err := l.process(ctx, time.Now())
	if err == nil {
		if err = l.keep(t, out, t.in[:n]); err != nil {
			l.lose() // it has seen the messages
		}
	}
	switch {
	case err == nil:
		l.again, l.next = out.Again, l.next+uint64(n)
		t.in, t.called = t.in[n:], true
		l.tries, l.proven = min(l.tries, 1), l.proven || n > 0
		return nil
	case errors.Is(err, stage.ErrCrashed) && n == 1 && l.tries >= l.patience():
		t.refused = append(t.refused, refusal{t.in[0], fmt.Sprintf("stage %s: %v, %d times", l.step.Name, err, l.tries)})
		l.lose()
		t.in, l.tries, l.proven = t.in[1:], 1, false
		return nil
	case errors.Is(err, stage.ErrCrashed):
		l.lose()
		l.tries++
	case errors.Is(err, stage.ErrLost):
		l.lose()
	}
	return err
}

// patience returns how often the stage may crash over one message alone.
func (l *chainLink) patience() int {
	if l.proven {
		return maxCrashes
	}
	return maxUnproven
}

// lose lets the stage go, whose state is lost, and with it the wish to be called of one that has kept nothing.
func (l *chainLink) lose() {
	if c, ok := l.stage.(io.Closer); ok {
		_ = c.Close() // nothing waits for it
	}
	l.stage = nil
	if len(l.kept) == 0 {
		l.again = time.Time{}
	}
}

// revive makes the stage where there is none: one that has lost its state is given again what it had kept back, before all else.
func (l *chainLink) revive(t *turn) (err error) {
	if l.stage != nil {
		return nil
	}
	if l.stage, err = l.step.New(); err != nil {
		return err
	}
	again := make([]stage.Message, 0, len(l.kept)+len(t.in))
	for _, number := range slices.Sorted(maps.Keys(l.kept)) {
		again = append(again, l.kept[number])
		t.touched = append(t.touched, l.kept[number].ID)
	}
	clear(l.kept)
	clear(l.held)
	t.in = append(again, t.in...)
	return nil
}

// process calls the stage. A panic is an error.
func (l *chainLink) process(ctx context.Context, now time.Time) (out stage.Output, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", stage.ErrCrashed, p)
		}
	}()
	return l.stage.Process(ctx, now, l.given)
}

// keep takes note of what the stage has made of the messages. The error says what of it breaks the contract; then nothing counts.
func (l *chainLink) keep(t *turn, out stage.Output, in []stage.Message) error {
	given := func(number uint64) *stage.Message {
		if at := number - l.next; at < uint64(len(in)) {
			return &in[at]
		}
		return nil
	}
	for _, number := range out.Kept {
		if given(number) == nil {
			return fmt.Errorf("it keeps ID %d, which is none that it was given now", number)
		}
	}
	passed, refused := len(t.out), len(t.refused)
	for i := range out.Messages {
		m := &out.Messages[i]
		from := given(m.ID)
		if from == nil {
			kept, ok := l.kept[m.ID]
			if from = &kept; !ok {
				t.out, t.refused = t.out[:passed], t.refused[:refused]
				return fmt.Errorf("it gave a message with ID %d, which is none that it was given", m.ID)
			}
		}
		if err := invalid(m, from); err != nil {
			t.refused = append(t.refused, refusal{*from, fmt.Sprintf("stage %s made of it what no broker takes: %v", l.step.Name, err)})
			continue
		}
		t.out = append(t.out, *m)
		t.out[len(t.out)-1].ID = from.ID
	}
	l.letGo(t, out)
	for _, r := range out.Refused {
		if m := given(r.ID); m != nil {
			t.refused = append(t.refused, refusal{*m, "stage " + l.step.Name + ": " + r.Reason})
		}
	}
	for _, number := range out.Kept {
		if _, twice := l.kept[number]; !twice {
			m := given(number)
			l.kept[number] = *m
			l.held[m.ID]++
		}
	}
	return nil
}

// invalid says why no broker would take what a stage has made of a message.
func invalid(m, from *stage.Message) error {
	if m.QoS > 2 {
		return fmt.Errorf("QoS %d", m.QoS) // [MQTT-3.3.1-4]
	}
	if m.Topic == from.Topic {
		return nil
	}
	return matching.ValidateTopic(m.Topic)
}

// letGo forgets the messages that the stage keeps no longer.
func (l *chainLink) letGo(t *turn, out stage.Output) {
	if len(l.kept) == 0 {
		return
	}
	gone := func(number uint64) {
		m, kept := l.kept[number]
		if !kept {
			return
		}
		delete(l.kept, number)
		t.touched = append(t.touched, m.ID)
		if l.held[m.ID]--; l.held[m.ID] == 0 {
			delete(l.held, m.ID)
		}
	}
	for i := range out.Messages {
		gone(out.Messages[i].ID)
	}
	for _, number := range out.Superseded {
		gone(number)
	}
}

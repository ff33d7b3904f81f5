package stagetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
)

// trace is what a stage did.
type trace struct {
	calls []call
	busy  time.Time // when it began to ask for one call after the other; zero if it never did
	left  []uint64  // IDs of the script that are kept back for ever
}

// call is one that has succeeded.
type call struct {
	now     time.Time
	in      []stage.Message
	out     stage.Output
	changed string // says what of its input the stage has changed
}

// way is how a stage is called; the zero one is the plain way.
type way int

const (
	nothingDiffers     way = iota
	inputIsOverwritten     // after each call
	contextEndsFirst       // each call is made with an ended context first
)

const (
	// attempts is how often a call is repeated that fails.
	attempts = 10
	// A stage may ask for so many calls within a second in which nothing is given and nothing comes of it.
	idleCalls = 1000
	// rounds is how often the kit gives messages to a stage that keeps some back and does not ask to be called.
	rounds = 20
)

// player calls a stage as a node does, at simulated times.
type player struct {
	stage stage.Stage
	way   way
	trace trace
	now   time.Time
	again time.Time
	kept  map[uint64]bool
}

// play takes a new stage through the script, and on until nothing is kept back.
func play(ctx context.Context, newStage newFunc, s script, w way) (*trace, error) {
	made, err := newStage()
	if err != nil {
		return nil, fmt.Errorf("new stage: %w", err)
	}
	p := &player{stage: made, way: w, now: epoch, kept: map[uint64]bool{}}
	err = p.play(ctx, s)
	return &p.trace, errors.Join(err, end(made))
}

// end closes a stage that can be closed.
func end(made stage.Stage) error {
	closer, ok := made.(io.Closer)
	if !ok {
		return nil
	}
	if err := closer.Close(); err != nil {
		return fmt.Errorf("close stage: %w", err)
	}
	return nil
}

func (p *player) play(ctx context.Context, s script) error {
	for _, one := range s {
		target := p.now.Add(one.after)
		if err := p.follow(ctx, target); err != nil {
			return err
		}
		p.now = target
		if err := p.call(ctx, one.in); err != nil {
			return err
		}
	}
	return p.drain(ctx, s)
}

// follow makes the calls that the stage asks for up to the time, or without end where that is zero and something is kept back.
func (p *player) follow(ctx context.Context, until time.Time) error {
	if !p.trace.busy.IsZero() && len(p.kept) == 0 {
		return nil // one busy loop is enough
	}
	begun := p.now
	for idle := 0; !p.again.IsZero() && (until.IsZero() || !p.again.After(until)); idle++ {
		if idle == idleCalls {
			if p.now.Sub(begun) < time.Second && p.trace.busy.IsZero() {
				p.trace.busy = begun
			}
			return nil
		}
		if p.again.After(p.now) {
			p.now = p.again
		}
		kept := len(p.kept)
		if err := p.call(ctx, nil); err != nil {
			return err
		}
		if len(p.kept) < kept {
			idle, begun = 0, p.now
		}
	}
	return nil
}

// drain goes on until what is kept back now has ended: first by waiting, then by giving the messages of the script again.
func (p *player) drain(ctx context.Context, s script) error {
	pending := slices.Sorted(maps.Keys(p.kept))
	defer func() { p.trace.left = p.stillKept(pending) }()
	for _, pause := range []time.Duration{0, time.Hour, 24 * time.Hour, 365 * 24 * time.Hour} {
		if pause > 0 && len(p.stillKept(pending)) == 0 {
			return nil
		}
		p.now = p.now.Add(pause)
		if err := p.follow(ctx, time.Time{}); err != nil {
			return err
		}
	}
	next := uint64(1)
	for _, one := range s {
		next += uint64(len(one.in))
	}
	for round := uint64(0); round < rounds && len(p.stillKept(pending)) > 0; round++ {
		for _, one := range s.numbered(next + round*(next-1)) {
			if err := p.call(ctx, one.in); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *player) stillKept(ids []uint64) (left []uint64) {
	for _, id := range ids {
		if p.kept[id] {
			left = append(left, id)
		}
	}
	return left
}

// call makes one call, repeats it while it fails, and notes what came of it.
func (p *player) call(ctx context.Context, in []stage.Message) error {
	if p.way == contextEndsFirst {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if done, err := p.attempt(ended, in); done || errors.Is(err, errPanic) {
			return err
		}
	}
	var first error // of a program that has ended, all others say that alone
	for range attempts {
		done, err := p.attempt(ctx, in)
		if done {
			return nil
		}
		first = cmp.Or(first, err)
		if errors.Is(err, errPanic) || ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("call %d: %w", len(p.trace.calls)+1, first)
}

// attempt makes a call, and notes it if it succeeds.
func (p *player) attempt(ctx context.Context, in []stage.Message) (done bool, err error) {
	given, block := lay(in)
	before := bytes.Clone(block)
	out, err := process(ctx, p.stage, p.now, given)
	if err != nil {
		return false, err
	}
	c := call{now: p.now, in: in, out: copyOutput(out), changed: changes(in, given, before, block)}
	if p.way == inputIsOverwritten {
		clear(given)
		for i := range block {
			block[i] = 'X'
		}
	}
	p.note(c)
	return true, nil
}

func (p *player) note(c call) {
	p.trace.calls = append(p.trace.calls, c)
	p.again = c.out.Again
	for _, m := range c.out.Messages {
		delete(p.kept, m.ID)
	}
	for _, id := range c.out.Superseded {
		delete(p.kept, id)
	}
	if len(c.out.Kept) == 0 {
		return
	}
	given := idsOf(c.in)
	for _, id := range c.out.Kept {
		if given[id] {
			p.kept[id] = true
		}
	}
}

func idsOf(messages []stage.Message) map[uint64]bool {
	ids := make(map[uint64]bool, len(messages))
	for _, m := range messages {
		ids[m.ID] = true
	}
	return ids
}

var errPanic = errors.New("panic")

// process calls the stage, and takes a panic for an error.
func process(ctx context.Context, s stage.Stage, now time.Time, in []stage.Message) (out stage.Output, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return s.Process(ctx, now, in)
}

// lay copies messages as a node may hold them: with their payloads one after the other in a block of memory.
func lay(in []stage.Message) (given []stage.Message, block []byte) {
	for _, m := range in {
		block = append(append(block, m.Payload...), '|')
	}
	given = slices.Clone(in)
	at := 0
	for i, m := range in {
		if m.Payload != nil {
			given[i].Payload = block[at : at+len(m.Payload)]
		}
		at += len(m.Payload) + 1
	}
	return given, block
}

// changes says what a stage has changed of what it was given.
func changes(in, given []stage.Message, before, block []byte) string {
	if !bytes.Equal(before, block) {
		return "bytes of a payload, or beside it"
	}
	for i := range in {
		if !sameMessage(in[i], given[i]) {
			return fmt.Sprintf("message %d of the slice", i+1)
		}
	}
	return ""
}

func copyOutput(out stage.Output) stage.Output {
	out.Messages = slices.Clone(out.Messages)
	for i := range out.Messages {
		out.Messages[i].Payload = bytes.Clone(out.Messages[i].Payload)
	}
	out.Kept, out.Superseded, out.Refused = slices.Clone(out.Kept), slices.Clone(out.Superseded), slices.Clone(out.Refused)
	return out
}

func sameMessage(a, b stage.Message) bool {
	return a.ID == b.ID && a.Topic == b.Topic && bytes.Equal(a.Payload, b.Payload) && a.QoS == b.QoS && a.Retain == b.Retain &&
		a.Time.Equal(b.Time) && a.Origin == b.Origin
}

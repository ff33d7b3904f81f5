package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/stage"
)

// reasonStages is the reason of the messages that stages have dropped, as the lane before them counts them.
const reasonStages = "stages"

// staging is a lane whose messages wait for their stages, on the disk: whatever becomes of a stage, nothing else waits for it. What the
// stages make of a message goes to the lanes behind them in the same transaction in which the message leaves this one.
type staging struct {
	lane   *lanes.Lane
	limits lanes.Limits // of the lane
	store  *lanes.Store
	chain  chain
	origin string // of the messages
	// due appends the lanes that a message is due in behind the stages, and returns the highest QoS that one of them carries. look comes
	// before each run.
	due  func(dst []*lanes.Lane, topic string) ([]*lanes.Lane, byte)
	look func()
	dead *deadLetters
	log  *slog.Logger

	state laneState
	kept  atomic.Int64              // messages that the stages keep back
	again atomic.Pointer[time.Time] // when the stages want to be called; nil while they do not
	turn  *turn                     // under way: the next attempt goes on with it
}

// minAgain is how soon stages may be called again for nothing but their wish.
const minAgain = 5 * time.Millisecond

// turnKey is the context key of the messages of a turn.
type turnKey struct{}

// Subscribe implements message.Subscriber: it hands on what the lane holds, or nothing when the stages want to be called, and the next
// turn only after the last one's Ack. The topic is not used.
func (s *staging) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	s.lane.Rewind()
	out := make(chan *message.Message)
	go func() { // ends with ctx
		defer close(out)
		for {
			run, ok := s.next(ctx)
			if !ok {
				return
			}
			for wait := newBackoff(); ; {
				msg := message.NewMessage(s.lane.Name(), nil)
				msg.SetContext(context.WithValue(ctx, turnKey{}, run))
				acked, alive := offer(ctx, out, msg)
				if acked {
					break
				}
				if !alive || !wait.sleep(ctx) {
					return // unacknowledged: the lane keeps them
				}
			}
		}
	}()
	return out, nil
}

// Close implements message.Subscriber. The lane belongs to its store.
func (s *staging) Close() error { return nil }

// next waits for messages, or until the stages want to be called.
func (s *staging) next(ctx context.Context) (run []frame.Message, ok bool) {
	wait, cancel := ctx, func() {}
	if again := s.again.Load(); again != nil {
		wait, cancel = context.WithDeadline(ctx, *again)
	}
	defer cancel()
	run, err := s.lane.Next(wait, maxRun, maxRunBytes)
	return run, err == nil || wait.Err() != nil && ctx.Err() == nil
}

// handle is the router's handler.
func (s *staging) handle(msg *message.Message) error {
	ctx := msg.Context()
	run, _ := ctx.Value(turnKey{}).([]frame.Message)
	if s.turn == nil {
		s.turn = s.begin(run)
	}
	err := s.chain.run(ctx, s.turn)
	if err == nil {
		err = s.finish(ctx, s.turn)
	}
	switch changed := s.state.set(err); {
	case changed && err != nil:
		s.log.Warn("stages do not answer, their messages are kept", "error", err)
	case changed:
		s.log.Info("stages answer again")
	}
	if err != nil {
		return err
	}
	s.turn = nil
	s.kept.Store(int64(s.lane.Stats().InFlight)) // nothing is read before this turn's Ack
	s.again.Store(nil)
	if again := s.chain.again(); !again.IsZero() {
		if soon := time.Now().Add(minAgain); again.Before(soon) {
			again = soon
		}
		s.again.Store(&again)
	}
	return nil
}

// pass moves all that the lane holds to the lanes behind it, unchanged.
func (s *staging) pass(ctx context.Context) error {
	for s.lane.Stats().Depth > 0 {
		run, err := s.lane.Next(ctx, maxRun, maxRunBytes)
		if err != nil {
			return err
		}
		t := s.begin(run)
		t.out = t.in
		if err := s.finish(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (s *staging) begin(run []frame.Message) *turn {
	t := &turn{in: make([]stage.Message, len(run)), touched: make([]uint64, len(run))}
	for i := range run {
		m := &run[i]
		t.in[i] = stage.Message{ID: m.Seq, Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain, Time: m.Time, Origin: s.origin}
		t.touched[i] = m.Seq
	}
	return t
}

// finish moves what the stages have given to the lanes behind them. When it fails, it goes on where it was when it is called again.
func (s *staging) finish(ctx context.Context, t *turn) error {
	for ; len(t.refused) > 0; t.refused = t.refused[1:] {
		if err := s.bury(ctx, &t.refused[0]); err != nil {
			return err
		}
		if t.buried == nil {
			t.buried = make(map[uint64]bool)
		}
		t.buried[t.refused[0].ID] = true
	}
	if !t.addressed {
		s.address(t)
	}
	// What is dropped leaves first: after a crash it must not come behind what has passed it in the stages.
	s.lane.Leave(t.dropped, reasonStages)
	s.lane.Leave(t.dead, reasonUndeliverable)
	s.lane.Leave(t.unwanted, reasonUnwanted)
	for len(t.entries) > 0 {
		err := s.store.Append(ctx, t.entries)
		stored := 0
		for stored < len(t.entries) && (err == nil || t.entries[stored].Message.Seq != 0) {
			stored++
		}
		t.entries = t.entries[stored:]
		if err != nil {
			return fmt.Errorf("what they give cannot be stored: %w", err)
		}
	}
	return nil
}

// address makes entries of what the stages have given. The last one of a message that no stage holds any more takes it out of this lane.
func (s *staging) address(t *turn) {
	t.addressed = true
	s.look()
	t.entries = make([]lanes.Entry, 0, len(t.out))
	last := make(map[uint64]int, len(t.touched)) // by ID: place of the last entry, -1 while there is none
	var due []*lanes.Lane
	for i := range t.out {
		m := &t.out[i]
		start := len(due)
		var qos byte
		if due, qos = s.due(due, m.Topic); len(due) == start {
			if _, known := last[m.ID]; !known {
				last[m.ID] = -1
			}
			continue
		}
		last[m.ID] = len(t.entries)
		t.entries = append(t.entries, lanes.Entry{
			Message: frame.Message{Time: m.Time, Topic: m.Topic, Payload: m.Payload, QoS: min(m.QoS, qos), Retain: m.Retain},
			Lanes:   due[start:len(due):len(due)],
		})
	}
	for _, id := range t.touched {
		if s.chain.holds(id) {
			continue
		}
		switch i, given := last[id]; {
		case !given && t.buried[id]:
			t.dead = append(t.dead, id)
		case !given:
			t.dropped = append(t.dropped, id)
		case i < 0:
			t.unwanted = append(t.unwanted, id)
		default:
			t.entries[i].Source, t.entries[i].Spent = s.lane, id
		}
	}
}

// bury makes a dead letter of a message that a stage refuses.
func (s *staging) bury(ctx context.Context, m *refusal) error {
	letter := deadLetter{
		Reason: m.reason, Lane: s.lane.Name(), Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, Time: m.Time, Payload: m.Payload,
	}
	if err := s.dead.publish(ctx, letter); err != nil {
		return err
	}
	s.log.Warn("message refused by a stage, moved to the dead letters", "topic", m.Topic, "bytes", len(m.Payload), "reason", m.reason)
	return nil
}

// moves reports whether the lane has messages that are soon through their stages.
func (s *staging) moves() bool {
	_, err := s.state.get()
	return err == nil && int64(s.lane.Stats().Depth) > s.kept.Load()
}

// status returns the account of the lane, and why its stages do not answer.
func (s *staging) status() LaneStatus {
	l := LaneStatus{Name: s.lane.Name(), Stats: s.lane.Stats(), State: "idle"}
	since, err := s.state.get()
	switch {
	case err != nil:
		l.State, l.Since, l.Error = "waiting", since, err.Error()
	case l.Depth > 0:
		l.State = "moving"
	}
	return l
}

package pipeline

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Limits of a run: messages, and bytes of payload after which no further one is added.
const (
	maxRun      = 1024
	maxRunBytes = 4 << 20
)

// runKey is the context key of a run's messages.
type runKey struct{}

// runOf returns the messages that a run made by gather stands for.
func runOf(msg *message.Message) []*message.Message {
	run, _ := msg.Context().Value(runKey{}).([]*message.Message)
	return run
}

// gather decorates a subscriber: it hands on all messages that are ready as one, the next run only after the last one's Ack,
// and passes that on to each of them; it never refuses one. So the order is kept although the Router runs a goroutine a
// message, and one sync of the disk, or one exchange with the broker, serves the whole run.
type gather struct{ message.Subscriber }

// Subscribe implements message.Subscriber.
func (g gather) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := g.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	go func() { // ends with its input, which its subscriber closes when ctx ends
		defer close(out)
		for first := range in {
			run := drain(first, in)
			if !handOn(ctx, out, run) {
				return // unacknowledged: whoever sent them keeps them
			}
			for _, m := range run {
				m.Ack()
			}
		}
	}()
	return out, nil
}

// drain returns the message and those that are ready behind it.
func drain(first *message.Message, in <-chan *message.Message) []*message.Message {
	run, size := []*message.Message{first}, len(first.Payload)
	for len(run) < maxRun && size < maxRunBytes {
		select {
		case m, ok := <-in:
			if !ok {
				return run
			}
			run, size = append(run, m), size+len(m.Payload)
		default:
			return run
		}
	}
	return run
}

// handOn offers the run until it is acknowledged, or returns false when ctx ends. Nothing behind it overtakes it.
func handOn(ctx context.Context, out chan<- *message.Message, run []*message.Message) bool {
	for wait := newBackoff(); ; {
		msg := message.NewMessage(run[0].UUID, nil)
		msg.SetContext(context.WithValue(ctx, runKey{}, run))
		acked, alive := offer(ctx, out, msg)
		if acked || !alive {
			return acked
		}
		if !wait.sleep(ctx) {
			return false
		}
	}
}

// offer sends the message and waits for its Ack or Nack. When ctx ends meanwhile, the handler is given a grace to finish.
func offer(ctx context.Context, out chan<- *message.Message, msg *message.Message) (acked, alive bool) {
	select {
	case out <- msg:
	case <-ctx.Done():
		return false, false
	}
	select {
	case <-msg.Acked():
		return true, true
	case <-msg.Nacked():
		return false, true
	case <-ctx.Done():
	}
	grace := time.NewTimer(closeTimeout)
	defer grace.Stop()
	select {
	case <-msg.Acked():
		return true, true
	case <-msg.Nacked():
	case <-grace.C:
	}
	return false, false
}

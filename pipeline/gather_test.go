package pipeline

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// fromChannel is a subscriber that hands on what the test sends.
type fromChannel chan *message.Message

func (c fromChannel) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return c, nil
}
func (c fromChannel) Close() error { return nil }

func receive(t *testing.T, ch <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-ch:
		if !ok {
			t.Fatal("channel closed")
		}
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	return nil
}

func acked(t *testing.T, m *message.Message) {
	t.Helper()
	select {
	case <-m.Acked():
	case <-time.After(10 * time.Second):
		t.Fatalf("message %s was not acknowledged", m.UUID)
	}
}

func TestRunHoldsAllThatIsReadyInOrderAndNextWaitsForItsAck(t *testing.T) {
	in := make(fromChannel, 100)
	var sent []*message.Message
	for i := range 100 {
		sent = append(sent, message.NewMessage(fmt.Sprint(i), nil))
		in <- sent[i]
	}
	runs, err := gather{in}.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	first := receive(t, runs)
	if got := len(runOf(first)); got != 100 {
		t.Fatalf("run of %d messages, want 100", got)
	}
	late := message.NewMessage("late", nil)
	in <- late
	select {
	case <-runs:
		t.Fatal("the next run came before the first one's Ack")
	case <-sent[0].Acked():
		t.Fatal("a message was acknowledged before its run")
	default:
	}
	first.Ack()
	for i, m := range runOf(first) {
		if m != sent[i] {
			t.Fatalf("message %d is %s", i, m.UUID)
		}
		acked(t, m)
	}
	second := receive(t, runs)
	if run := runOf(second); len(run) != 1 || run[0] != late {
		t.Fatalf("second run %v", run)
	}
	second.Ack()
	acked(t, late)
}

func TestRefusedRunComesAgainBeforeAnyOther(t *testing.T) {
	in := make(fromChannel, 2)
	one, two := message.NewMessage("1", nil), message.NewMessage("2", nil)
	in <- one
	runs, err := gather{in}.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	receive(t, runs).Nack()
	in <- two
	again := receive(t, runs)
	if run := runOf(again); len(run) != 1 || run[0] != one {
		t.Fatalf("after the Nack came %v", run)
	}
	again.Ack()
	acked(t, one)
	receive(t, runs).Ack()
	acked(t, two)
}

package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-relay/weft/pipeline/lanes"
)

// periodLane has what the test queues, and readers of it by the clock of the bubble.
func periodLane(t *testing.T, batch Batch) (queueOne func(topic string), next func() (messages int, after time.Duration)) {
	t.Helper()
	store := testStore(t)
	lane := store.Lane("all/bob", lanes.Limits{})
	reader := &laneReader{lane: lane, batch: batch, origin: "alice", hope: func() <-chan struct{} { return nil }}
	frames, err := reader.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	return func(topic string) { queue(t, store, lane, topic) }, func() (int, time.Duration) {
		msg := <-frames
		msg.Ack()
		return len(batchOf(msg)), time.Since(began)
	}
}

func TestFrameWaitsForItsPeriodCountedFromItsFirstMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queueOne, next := periodLane(t, Batch{Count: 100, Bytes: 1 << 20, Period: 10 * time.Second})
		time.Sleep(time.Minute) // an idle lane has no running period
		queueOne("1")
		time.Sleep(4 * time.Second)
		queueOne("2")
		time.Sleep(5 * time.Second)
		queueOne("3")
		if n, after := next(); n != 3 || after != 70*time.Second {
			t.Errorf("frame of %d messages after %v, want 3 after 70s", n, after)
		}
		queueOne("4")
		if n, after := next(); n != 1 || after != 80*time.Second {
			t.Errorf("frame of %d messages after %v, want 1 after 80s", n, after)
		}
	})
}

func TestFullFrameDoesNotWaitForItsPeriod(t *testing.T) {
	for name, batch := range map[string]Batch{
		"count": {Count: 2, Bytes: 1 << 20, Period: time.Hour},
		"bytes": {Count: 100, Bytes: 2 * (len("1") + lanes.Overhead), Period: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				queueOne, next := periodLane(t, batch)
				queueOne("1")
				time.Sleep(time.Minute)
				queueOne("2")
				if n, after := next(); n != 2 || after != time.Minute {
					t.Errorf("frame of %d messages after %v, want 2 after 1m", n, after)
				}
			})
		})
	}
}

func TestIdleRouteWithoutAPeriodWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queueOne, next := periodLane(t, Batch{Count: 100, Bytes: 1 << 20})
		time.Sleep(time.Minute)
		queueOne("1")
		if n, after := next(); n != 1 || after != time.Minute {
			t.Errorf("frame of %d messages after %v, want 1 after 1m", n, after)
		}
	})
}

package mqtt

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What happens to a client again and again: is it said once, and once more when it is over?
func TestWhatGoesOnIsSaidOnceAndWhenItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := newNotes(slog.New(slog.NewTextHandler(&log, nil)))
		for range 90 {
			n.drop("c", droppedSlow, "dropped")
			time.Sleep(time.Second)
			n.sweep(time.Now())
		}
		if strings.Count(log.String(), "msg=") != 1 {
			t.Fatal(log.String())
		}
		time.Sleep(quiet)
		n.sweep(time.Now())
		if got := log.String(); strings.Count(got, "msg=") != 2 || !strings.Contains(got, "client=c what=slow_client times=90") {
			t.Fatal(got)
		}
		if n.counts()[droppedSlow] != 90 {
			t.Fatal(n.counts())
		}
	})
}

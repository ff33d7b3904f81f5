package mqtt

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
)

// Reasons for which the built-in broker does not pass a message on.
const (
	droppedSlow   = "slow_client"    // QoS 0, to a client that does not read
	droppedFull   = "session_full"   // acknowledged to its publisher, for a session that holds maxSession already
	droppedDenied = "not_authorized" // from a user without the right to publish to its topic
)

const (
	quiet    = time.Minute // what has not happened for so long is over
	maxNotes = 1000        // that are open at a time: beyond them nothing is logged
)

// notes says in the log what happens to the messages of one client again and again: once when it begins, and how often it
// was when it is over. It counts what is dropped.
type notes struct {
	log *slog.Logger

	mu      sync.Mutex
	dropped map[string]uint64 // messages by reason
	open    map[note]*episode
}

// note is what happens to whom.
type note struct{ client, what string }

type episode struct {
	times uint64
	last  time.Time
}

func newNotes(log *slog.Logger) *notes {
	return &notes{log: log, dropped: make(map[string]uint64), open: make(map[note]*episode)}
}

// drop counts a message that is not passed on. The message and attributes are for the first of many.
func (n *notes) drop(client, reason, message string, attrs ...any) {
	n.mu.Lock()
	n.dropped[reason]++
	n.mu.Unlock()
	n.warn(client, reason, message, attrs...)
}

// warn logs the message unless it is known of the client already.
func (n *notes) warn(client, what, message string, attrs ...any) {
	if n.begins(note{client, what}) {
		n.log.Warn("built-in broker: "+message, append([]any{"client", client}, attrs...)...)
	}
}

// wrong says why the connection of a client ends that does not keep to MQTT.
func (n *notes) wrong(cl *mochi.Client, err error) {
	n.warn(cl.ID, "protocol_error", "client disconnected: it does not keep to MQTT", "address", cl.Net.Remote, "error", err)
}

func (n *notes) begins(of note) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.open[of]
	if e == nil && len(n.open) == maxNotes {
		return false
	}
	if e == nil {
		e = &episode{}
		n.open[of] = e
	}
	e.times++
	e.last = time.Now()
	return e.times == 1
}

// sweep ends what has not happened for a while.
func (n *notes) sweep(now time.Time) {
	over := make(map[note]uint64)
	n.mu.Lock()
	for of, e := range n.open {
		if now.Sub(e.last) >= quiet {
			over[of] = e.times
			delete(n.open, of)
		}
	}
	n.mu.Unlock()
	for of, times := range over {
		n.log.Info("built-in broker: over for a minute", "client", of.client, "what", of.what, "times", times)
	}
}

func (n *notes) counts() map[string]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.dropped)
}

// mochiLog takes mochi's log. What of it needs a person this package says itself, with the client's name, and mochi's
// warnings are for those who look closely: it writes whole packets with what is secret in them.
type mochiLog struct {
	slog.Handler
	notes *notes
}

// Enabled implements [slog.Handler].
func (h mochiLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || h.Handler.Enabled(ctx, level)
}

// Handle implements [slog.Handler].
func (h mochiLog) Handle(ctx context.Context, r slog.Record) error {
	client, attrs := "", []slog.Attr(nil)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "client":
			client = a.Value.String()
		case "pk", "packet", "will", "hook", "listener":
			return true
		}
		attrs = append(attrs, a)
		return true
	})
	switch r.Message {
	case "client store quota reached", "packet ids exhausted": // no hook tells
		h.notes.drop(client, droppedFull, "acknowledged messages are dropped: too many wait for the client, which must fetch them or end its session", "messages", maxSession)
		return nil
	}
	level := r.Level
	if level < slog.LevelError {
		level = min(level, slog.LevelDebug)
	}
	if !h.Handler.Enabled(ctx, level) {
		return nil
	}
	line := slog.NewRecord(r.Time, level, "built-in broker: "+r.Message, r.PC)
	line.AddAttrs(attrs...)
	return h.Handler.Handle(ctx, line)
}

// WithAttrs implements [slog.Handler]: mochi adds nothing but the names of its own parts.
func (h mochiLog) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements [slog.Handler].
func (h mochiLog) WithGroup(string) slog.Handler { return h }

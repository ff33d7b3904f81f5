// Package stage is the contract of stages: the steps that the messages of a route take on their way out, or those of a subscription
// on their way in. A stage may drop, change, split or keep back a message; it never reorders those of a topic.
//
// A stage is made anew for each lane that it serves (one for each route, and for each peer of a subscription), so that it may keep
// state, and is called by one goroutine at a time. It is built by a constructor of the form
//
//	New(Config, *slog.Logger) (*T, error)
//
// which does no I/O, so that `weft check` can build everything. Messages wait on the disk until their stages have answered: what a stage
// does is repeated after a crash, with fresh state, and its answers reach their lanes in the same transaction in which the messages
// they stem from leave theirs.
package stage

import (
	"context"
	"errors"
	"time"
)

// Message is an MQTT application message as a stage sees it.
type Message struct {
	// ID is the number of the message that came from the broker or from a peer; it only grows. What a stage makes of a message keeps its ID.
	ID      uint64
	Topic   string // valid by [MQTT-4.7.3-1]
	Payload []byte // must not be changed in place
	QoS     byte   // 0, 1 or 2; a route's and a subscription's own limit applies besides
	Retain  bool
	Time    time.Time // when the relay of its origin took it from its broker
	Origin  string    // the node that it comes from: this one on a route
}

// Stage is one step.
type Stage interface {
	// Process takes the next messages, in order, at the time now; there may be none when it is called because of [Output.Again]. On an
	// error nothing of the call counts: it is repeated with the same messages until it succeeds, and they wait meanwhile. What is wrong
	// with a single message goes to [Output.Refused] instead. The messages, and the slice they are in, belong to the stage until it
	// returns, and what it returns belongs to the caller until the next call; the bytes of a payload are never changed any more.
	Process(ctx context.Context, now time.Time, in []Message) (Output, error)
}

// Output is what a stage makes of messages. One that it was given, and that is in none of the lists, is dropped.
type Output struct {
	// Messages go on, in this order: those given, changed or not, and those kept back by earlier calls.
	Messages []Message
	// Kept are IDs of messages given in this call that are kept back: they stay on the disk, and are given again after a restart. Each is
	// among Messages or Superseded of a later call.
	Kept []uint64
	// Superseded are IDs of messages kept back by earlier calls that are dropped now.
	Superseded []uint64
	// Refused are messages given in this call that can never be processed: they go to the dead letters.
	Refused []Refusal
	// Again is when Process is to be called even if nothing comes; zero means not before something does.
	Again time.Time
}

// Refusal says why a message goes to the dead letters.
type Refusal struct {
	ID     uint64
	Reason string
}

// After an error that is one of these the stage has lost its state. It is made anew, and given again what it had kept back.
var (
	// ErrLost says that the state is lost, and not because of what the stage was given.
	ErrLost = errors.New("stage has lost its state")
	// ErrCrashed says that the stage has come to grief over what it was given: a panic, or a program that ended in the middle of a call. A
	// message that does so alone, time and again, goes to the dead letters.
	ErrCrashed = errors.New("stage crashed")
)

package stagetest_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
)

// brokenStage breaks one rule, and perhaps some that follow from it.
type brokenStage struct {
	name   string
	new    func() stage.Stage
	check  string   // that catches it
	says   string   // part of what the check says
	spared []string // checks that must not blame it
}

// each makes a stage of what it does to one message.
func each(do func(out *stage.Output, now time.Time, m stage.Message)) func() stage.Stage {
	return func() stage.Stage {
		return process(func(_ context.Context, now time.Time, in []stage.Message) (out stage.Output, _ error) {
			for _, m := range in {
				do(&out, now, m)
			}
			return out, nil
		})
	}
}

// stateful makes stages of which each has a function of its own.
func stateful(do func() process) func() stage.Stage { return func() stage.Stage { return do() } }

func broken() []brokenStage {
	return slices.Concat(wrongMessages(), wrongLists(), wrongKeeping(), wrongUseOfInput(), wrongRepeats(), wrongLives())
}

func wrongMessages() []brokenStage {
	setTopic := func(topic string) func() stage.Stage {
		return each(func(out *stage.Output, _ time.Time, m stage.Message) {
			m.Topic = topic
			out.Messages = append(out.Messages, m)
		})
	}
	return []brokenStage{
		{name: "empty topic", new: setTopic(""), check: "MessagesAreValid", says: "empty topic", spared: []string{"TopicsKeepTheirOrder"}},
		{name: "wildcard in a topic", new: setTopic("a/+"), check: "MessagesAreValid", says: `topic "a/+"`},
		{name: "topic that is no UTF-8", new: setTopic("a\xff"), check: "MessagesAreValid", says: `topic "a\xff"`},
		{name: "topic too long", new: setTopic(string(make([]byte, 65536))), check: "MessagesAreValid", says: "65536 bytes"},
		{
			name: "QoS 3",
			new: each(func(out *stage.Output, _ time.Time, m stage.Message) {
				m.QoS = 3
				out.Messages = append(out.Messages, m)
			}),
			check: "MessagesAreValid", says: "QoS 3",
		},
		{
			name: "call reversed",
			new: stateful(func() process {
				return func(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
					out := slices.Clone(in)
					slices.Reverse(out)
					return stage.Output{Messages: out}, nil
				}
			}),
			check: "TopicsKeepTheirOrder", says: "comes after ID", spared: []string{"EachMessageIsInOneList", "SameInputGivesSameOutput"},
		},
		{
			name: "kept message overtaken by one of its topic",
			new: stateful(func() process {
				var kept []stage.Message
				return func(_ context.Context, now time.Time, in []stage.Message) (out stage.Output, _ error) {
					out.Messages, kept = append(slices.Clone(in), kept...), nil
					if len(in) > 0 {
						kept, out.Messages = in[:1], slices.Delete(out.Messages, 0, 1)
						out.Kept, out.Again = []uint64{in[0].ID}, now.Add(time.Second)
					}
					return out, nil
				}
			}),
			check: "TopicsKeepTheirOrder", says: "comes after ID",
		},
	}
}

func wrongLists() []brokenStage {
	return []brokenStage{
		{
			name: "messages out of nothing",
			new: stateful(func() process {
				return func(context.Context, time.Time, []stage.Message) (stage.Output, error) {
					return stage.Output{Messages: []stage.Message{{ID: 1, Topic: "a"}}}, nil
				}
			}),
			check: "EmptyCallIsHarmless", says: "has 1 IDs",
		},
		{
			name: "ID of its own",
			new: each(func(out *stage.Output, _ time.Time, m stage.Message) {
				m.ID += 1_000_000
				out.Messages = append(out.Messages, m)
			}),
			check: "IDsAreKnown", says: "neither given in this call nor kept back",
		},
		{
			name: "passed on twice, in two calls",
			new: stateful(func() process {
				var last []stage.Message
				return func(_ context.Context, _ time.Time, in []stage.Message) (out stage.Output, _ error) {
					out.Messages = append(slices.Clone(last), in...)
					last = slices.Clone(in)
					return out, nil
				}
			}),
			check: "IDsAreKnown", says: "neither given in this call nor kept back",
		},
		{
			name:  "superseded though never kept",
			new:   each(func(out *stage.Output, _ time.Time, m stage.Message) { out.Superseded = append(out.Superseded, m.ID) }),
			check: "IDsAreKnown", says: "Superseded was not kept back",
		},
		{
			name: "kept though never given",
			new: each(func(out *stage.Output, _ time.Time, m stage.Message) {
				out.Messages = append(out.Messages, m)
				out.Kept = append(out.Kept, m.ID+1_000_000)
			}),
			check: "IDsAreKnown", says: "Kept was not given",
		},
		{
			name: "passed on and refused",
			new: each(func(out *stage.Output, _ time.Time, m stage.Message) {
				out.Messages = append(out.Messages, m)
				out.Refused = append(out.Refused, stage.Refusal{ID: m.ID, Reason: "odd"})
			}),
			check: "EachMessageIsInOneList", says: "is in Messages and in Refused", spared: []string{"IDsAreKnown", "KeptMessagesEnd"},
		},
		{
			name: "refused twice",
			new: each(func(out *stage.Output, _ time.Time, m stage.Message) {
				out.Refused = append(out.Refused, stage.Refusal{ID: m.ID, Reason: "odd"}, stage.Refusal{ID: m.ID, Reason: "odd"})
			}),
			check: "EachMessageIsInOneList", says: "is in Refused and in Refused",
		},
		{
			name: "no reason",
			new: each(func(out *stage.Output, _ time.Time, m stage.Message) {
				out.Refused = append(out.Refused, stage.Refusal{ID: m.ID})
			}),
			check: "RefusalsHaveReasons", says: "without a reason",
		},
		{
			name: "large messages lost in two lists",
			new: each(func(out *stage.Output, _ time.Time, m stage.Message) {
				if len(m.Payload) > 1<<20 {
					out.Refused = append(out.Refused, stage.Refusal{ID: m.ID, Reason: "too large"})
				}
				out.Messages = append(out.Messages, m)
			}),
			check: "LargeMessagesKeepTheRules", says: "is in Messages and in Refused", spared: []string{"EachMessageIsInOneList"},
		},
	}
}

func wrongKeeping() []brokenStage {
	return []brokenStage{
		{
			name: "kept for ever",
			new: each(func(out *stage.Output, now time.Time, m stage.Message) {
				if m.Topic == "lamp" {
					out.Kept, out.Again = append(out.Kept, m.ID), now.Add(time.Hour)
					return
				}
				out.Messages = append(out.Messages, m)
			}),
			check: "KeptMessagesEnd", says: "ID 1 is kept back", spared: []string{"NoBusyLoop", "IDsAreKnown"},
		},
		{
			name: "superseded and forgotten",
			new: stateful(func() process {
				var kept *stage.Message
				return func(_ context.Context, now time.Time, in []stage.Message) (out stage.Output, _ error) {
					if len(in) == 0 && kept != nil {
						out.Messages, kept = []stage.Message{*kept}, nil
						return out, nil
					}
					for i := range in {
						if kept != nil && i > 0 {
							out.Kept = out.Kept[:len(out.Kept)-1]
						}
						kept = &in[i]
						out.Kept = append(out.Kept, in[i].ID)
						out.Again = now.Add(time.Minute)
					}
					return out, nil
				}
			}),
			check: "KeptMessagesEnd", says: "is kept back",
		},
		{
			name: "call asked for at once, always",
			new: stateful(func() process {
				return func(_ context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
					return stage.Output{Messages: in, Again: now}, nil
				}
			}),
			check: "NoBusyLoop", says: "1000 calls within a second", spared: []string{"KeptMessagesEnd", "SameInputGivesSameOutput"},
		},
		{
			name: "call asked for in the past",
			new: stateful(func() process {
				return func(_ context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
					return stage.Output{Messages: in, Again: now.Add(-time.Hour)}, nil
				}
			}),
			check: "NoBusyLoop", says: "1000 calls within a second",
		},
		{
			name: "call asked for every microsecond",
			new: stateful(func() process {
				return func(_ context.Context, now time.Time, in []stage.Message) (stage.Output, error) {
					return stage.Output{Messages: in, Again: now.Add(time.Microsecond)}, nil
				}
			}),
			check: "NoBusyLoop", says: "1000 calls within a second",
		},
	}
}

func wrongUseOfInput() []brokenStage {
	return []brokenStage{
		{
			name: "payload changed in place",
			new: each(func(out *stage.Output, _ time.Time, m stage.Message) {
				if len(m.Payload) > 0 {
					m.Payload[0]++
				}
				out.Messages = append(out.Messages, m)
			}),
			check: "InputIsNotChanged", says: "bytes of a payload",
		},
		{
			name: "payload appended to",
			new: each(func(out *stage.Output, _ time.Time, m stage.Message) {
				m.Payload = append(m.Payload, '!')
				out.Messages = append(out.Messages, m)
			}),
			check: "InputIsNotChanged", says: "or beside it",
		},
		{
			name: "slice of messages changed",
			new: stateful(func() process {
				return func(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
					for i := range in {
						in[i].Retain = !in[i].Retain
					}
					return stage.Output{Messages: in}, nil
				}
			}),
			check: "InputIsNotChanged", says: "message 1 of the slice",
		},
		{
			name: "payload kept without a copy",
			new: stateful(func() process {
				var kept []stage.Message
				return func(_ context.Context, now time.Time, in []stage.Message) (out stage.Output, _ error) {
					out.Messages, kept = kept, slices.Clone(in)
					for _, m := range in {
						out.Kept, out.Again = append(out.Kept, m.ID), now.Add(time.Second)
					}
					return out, nil
				}
			}),
			check: "InputIsNotUsedAfterReturn", says: "XX", spared: []string{"InputIsNotChanged", "KeptMessagesEnd", "FailedCallCanBeRepeated"},
		},
	}
}

var errEarly = errors.New("too early")

func wrongRepeats() []brokenStage {
	return []brokenStage{
		{
			name: "result of chance",
			new: stateful(func() process {
				byTopic := map[string]stage.Message{}
				return func(_ context.Context, _ time.Time, in []stage.Message) (out stage.Output, _ error) {
					clear(byTopic)
					for _, m := range in {
						byTopic[m.Topic] = m
					}
					for _, m := range byTopic {
						out.Messages = append(out.Messages, m)
					}
					return out, nil
				}
			}),
			check: "SameInputGivesSameOutput", says: "another time", spared: []string{"TopicsKeepTheirOrder", "EachMessageIsInOneList"},
		},
		{
			name: "state of a failed call",
			new: stateful(func() process {
				seen := map[string]bool{}
				return func(ctx context.Context, _ time.Time, in []stage.Message) (out stage.Output, _ error) {
					for _, m := range in {
						if !seen[string(m.Payload)] {
							out.Messages = append(out.Messages, m)
						}
						seen[string(m.Payload)] = true
					}
					return out, ctx.Err()
				}
			}),
			check: "FailedCallCanBeRepeated", says: "another time", spared: []string{"SameInputGivesSameOutput"},
		},
		{
			name: "failure that lasts",
			new: stateful(func() process {
				return func(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
					if len(in) > 0 {
						return stage.Output{}, errEarly
					}
					return stage.Output{}, nil
				}
			}),
			check: "FailedCallCanBeRepeated", says: "call 1: too early", spared: []string{"EmptyCallIsHarmless"},
		},
		{
			name:  "panic",
			new:   each(func(_ *stage.Output, _ time.Time, m stage.Message) { _ = m.Payload[0] }),
			check: "SameInputGivesSameOutput", says: "panic: runtime error: index out of range", spared: []string{"EmptyCallIsHarmless"},
		},
	}
}

// sharedSeen is what a stage must not have.
var sharedSeen map[string]string

func wrongLives() []brokenStage {
	return []brokenStage{
		{
			name: "state shared by all stages",
			new: func() stage.Stage {
				sharedSeen = map[string]string{} // empty for a new lane, and then shared with the others
				return process(func(_ context.Context, _ time.Time, in []stage.Message) (out stage.Output, _ error) {
					for _, m := range in {
						if last, seen := sharedSeen[m.Topic]; !seen || last != string(m.Payload) {
							out.Messages = append(out.Messages, m)
						}
						sharedSeen[m.Topic] = string(m.Payload)
					}
					return out, nil
				})
			},
			check: "StagesShareNothing", says: "with another stage called in turn", spared: []string{"SameInputGivesSameOutput"},
		},
		{
			name: "goroutine that nobody ends",
			new: stateful(func() process {
				go func() { select {} }()
				return passAll
			}),
			check: "NoGoroutineIsLeft", says: "select (no cases)", spared: []string{"SameInputGivesSameOutput"},
		},
	}
}

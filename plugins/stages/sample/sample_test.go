package sample_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/pipeline/stage/stagetest"
	"github.com/weft-relay/weft/plugins/stages/sample"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newStage(t testing.TB, c sample.Config) *sample.Sample {
	t.Helper()
	s, err := sample.New(c, nil)
	require.NoError(t, err)
	return s
}

func TestContract(t *testing.T) {
	for name, c := range map[string]sample.Config{
		"plain":         {Every: 10 * time.Second},
		"few topics":    {Every: 10 * time.Second, Topics: 3},
		"few bytes":     {Every: time.Hour, Bytes: 100},
		"long interval": {Every: 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			stagetest.Test(t, stagetest.Case{
				New: func() stage.Stage { return newStage(t, c) },
				Input: []stage.Message{
					{Topic: "t", Payload: []byte("1"), QoS: 1},
					{Topic: "t", Payload: []byte("2"), QoS: 1, Retain: true},
					{Topic: "t", Payload: []byte("3"), QoS: 1},
					{Topic: "u", Payload: []byte("4")},
					{Topic: "t", Retain: true},
				},
			})
		})
	}
}

// turn is a call and what is to come of it. Messages are written as TOPIC=PAYLOAD, with "!" at the end if they are to be retained.
type turn struct {
	at               time.Duration
	in, out          string
	kept, superseded []uint64
	again            time.Duration // 0: none
}

func run(t *testing.T, s stage.Stage, turns []turn) {
	t.Helper()
	id := uint64(0)
	for n, one := range turns {
		var in []stage.Message
		for _, word := range strings.Fields(one.in) {
			id++
			in = append(in, parse(id, word))
		}
		out, err := s.Process(context.Background(), start.Add(one.at), in)
		require.NoError(t, err)
		require.Equal(t, one.out, text(out.Messages), "turn %d", n)
		require.ElementsMatch(t, one.kept, out.Kept, "turn %d: kept", n)
		require.ElementsMatch(t, one.superseded, out.Superseded, "turn %d: superseded", n)
		again := time.Duration(0)
		if !out.Again.IsZero() {
			again = out.Again.Sub(start)
		}
		require.Equal(t, one.again, again, "turn %d: again", n)
		for i := range in { // the memory is the caller's again
			copy(in[i].Payload, "XXXXXXXX")
		}
	}
}

func parse(id uint64, word string) stage.Message {
	topic, payload, _ := strings.Cut(word, "=")
	payload, retain := strings.CutSuffix(payload, "!")
	return stage.Message{ID: id, Topic: topic, Payload: []byte(payload), Retain: retain}
}

func text(messages []stage.Message) string {
	words := make([]string, len(messages))
	for i, m := range messages {
		words[i] = fmt.Sprintf("%s=%s", m.Topic, m.Payload)
		if m.Retain {
			words[i] += "!"
		}
	}
	return strings.Join(words, " ")
}

const s = time.Second

func TestLastOfAnIntervalPasses(t *testing.T) {
	for name, turns := range map[string][]turn{
		"first passes at once, last at the end": {
			{at: 0, in: "a=1", out: "a=1"},
			{at: 1 * s, in: "a=2", kept: []uint64{2}, again: 10 * s},
			{at: 2 * s, in: "a=3", kept: []uint64{3}, superseded: []uint64{2}, again: 10 * s},
			{at: 10 * s, out: "a=3"},
			{at: 11 * s, in: "a=4", kept: []uint64{4}, again: 20 * s},
			{at: 20 * s, out: "a=4"},
			{at: 30 * s},
			{at: 30 * s, in: "a=5", out: "a=5"},
		},
		"within one call": {
			{at: 0, in: "a=1 a=2 b=3 a=4", out: "a=1 b=3", kept: []uint64{4}, again: 10 * s},
			{at: 10 * s, out: "a=4"},
		},
		"call that comes late": {
			{at: 0, in: "a=1 a=2", out: "a=1", kept: []uint64{2}, again: 10 * s},
			{at: 25 * s, in: "a=3 a=4", out: "a=2", kept: []uint64{4}, again: 35 * s},
			{at: 35 * s, out: "a=4"},
		},
		"silent topic begins anew": {
			{at: 0, in: "a=1", out: "a=1"},
			{at: 10*s - 1, in: "a=2", kept: []uint64{2}, again: 10 * s},
			{at: 10 * s, out: "a=2"},
			{at: 20 * s, in: "a=3", out: "a=3"},
		},
		"topics by themselves": {
			{at: 0, in: "a=1", out: "a=1"},
			{at: 4 * s, in: "b=2 a=3", out: "b=2", kept: []uint64{3}, again: 10 * s},
			{at: 5 * s, in: "b=4", kept: []uint64{4}, again: 10 * s},
			{at: 10 * s, out: "a=3", again: 14 * s},
			{at: 14 * s, out: "b=4"},
		},
		"clock set back": {
			{at: 0, in: "a=1 a=2", out: "a=1", kept: []uint64{2}, again: 10 * s},
			{at: -time.Hour, in: "a=3", out: "a=2", kept: []uint64{3}, again: -time.Hour + 10*s},
		},
	} {
		t.Run(name, func(t *testing.T) { run(t, newStage(t, sample.Config{Every: 10 * s}), turns) })
	}
}

func TestRetainedMessagesAreNotLost(t *testing.T) {
	for name, turns := range map[string][]turn{
		"one without the flag is no substitute": {
			{at: 0, in: "a=1 a=2! a=3 a=4", out: "a=1", kept: []uint64{2, 4}, again: 10 * s},
			{at: 1 * s, in: "a=5", kept: []uint64{5}, superseded: []uint64{4}, again: 10 * s},
			{at: 10 * s, out: "a=2! a=5"},
		},
		"one with the flag is": {
			{at: 0, in: "a=1! a=2! a=3", out: "a=1!", kept: []uint64{2, 3}, again: 10 * s},
			{at: 1 * s, in: "a=4!", kept: []uint64{4}, superseded: []uint64{2, 3}, again: 10 * s},
			{at: 10 * s, out: "a=4!"},
		},
		"delete passes at once": {
			{at: 0, in: "a=1! a=2!", out: "a=1!", kept: []uint64{2}, again: 10 * s},
			{at: 1 * s, in: "a=!", out: "a=!", superseded: []uint64{2}},
			{at: 2 * s, in: "a=!", out: "a=!"},
			{at: 3 * s, in: "a=5!", kept: []uint64{5}, again: 12 * s},
			{at: 12 * s, out: "a=5!"},
		},
		"in the call of what it deletes": {
			{at: 0, in: "a=1! a=2! a=! a=3!", out: "a=1! a=!", kept: []uint64{4}, again: 10 * s},
			{at: 10 * s, out: "a=3!"},
		},
		"empty one without the flag waits": {
			{at: 0, in: "a=1 a=", out: "a=1", kept: []uint64{2}, again: 10 * s},
			{at: 10 * s, out: "a="},
		},
	} {
		t.Run(name, func(t *testing.T) { run(t, newStage(t, sample.Config{Every: 10 * s}), turns) })
	}
}

func TestIntervalsEndEarlyWhereThereAreTooMany(t *testing.T) {
	run(t, newStage(t, sample.Config{Every: 10 * s, Topics: 2}), []turn{
		{at: 0, in: "a=1 a=2 b=3", out: "a=1 b=3", kept: []uint64{2}, again: 10 * s},
		{at: 1 * s, in: "c=4", out: "c=4 a=2"},
		{at: 2 * s, in: "a=5", out: "a=5"},
	})
}

func TestBytesKeptBackHaveALimit(t *testing.T) {
	run(t, newStage(t, sample.Config{Every: 10 * s, Bytes: 5}), []turn{
		{at: 0, in: "a=1 b=1 a=222 b=33", out: "a=1 b=1", kept: []uint64{3, 4}, again: 10 * s},
		{at: 1 * s, in: "b=333", out: "a=222", kept: []uint64{5}, superseded: []uint64{4}, again: 10 * s},
		{at: 2 * s, in: "b=666666", out: "b=666666", superseded: []uint64{5}},
	})
}

func TestConfigIsChecked(t *testing.T) {
	for want, c := range map[string]sample.Config{
		"every: no interval; give one such as 10s": {},
		"every: 1ms is not in 10ms to 744h":        {Every: time.Millisecond},
		"every: -1s is not in 10ms to 744h":        {Every: -time.Second},
		"topics: -1 is not in 1 to 100000000":      {Every: time.Second, Topics: -1},
		"bytes: -1 is less than 1":                 {Every: time.Second, Bytes: -1},
	} {
		_, err := sample.New(c, nil)
		require.EqualError(t, err, want)
	}
}

package onchange_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/pipeline/stage/stagetest"
	"github.com/weft-relay/weft/plugins/stages/onchange"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newStage(t testing.TB, c onchange.Config) *onchange.OnChange {
	t.Helper()
	s, err := onchange.New(c, nil)
	require.NoError(t, err)
	return s
}

// passes reports whether the one message passes.
func passes(t *testing.T, s stage.Stage, after time.Duration, m stage.Message) bool {
	t.Helper()
	out, err := s.Process(context.Background(), start.Add(after), []stage.Message{m})
	require.NoError(t, err)
	require.Empty(t, out.Kept)
	require.Empty(t, out.Refused)
	if len(out.Messages) == 1 {
		require.Equal(t, m, out.Messages[0])
	}
	return len(out.Messages) == 1
}

func TestContract(t *testing.T) {
	stagetest.Test(t, stagetest.Case{
		New: func() stage.Stage { return newStage(t, onchange.Config{MaxSilence: time.Minute, Topics: 4}) },
		Input: []stage.Message{
			{Topic: "door", Payload: []byte("open"), QoS: 1},
			{Topic: "door", Payload: []byte("open"), QoS: 1},
			{Topic: "door", Payload: []byte("shut"), QoS: 1, Retain: true},
			{Topic: "door", Retain: true},
		},
	})
}

func TestEqualMessagesAreSuppressed(t *testing.T) {
	type line struct {
		topic, payload string
		qos            byte
		retain, passes bool
	}
	for name, lines := range map[string][]line{
		"equal payloads":               {{"a", "1", 0, false, true}, {"a", "1", 0, false, false}, {"a", "2", 0, false, true}, {"a", "1", 0, false, true}},
		"each topic by itself":         {{"a", "1", 0, false, true}, {"b", "1", 0, false, true}, {"a", "1", 0, false, false}, {"A", "1", 0, false, true}},
		"a higher QoS is surer":        {{"a", "1", 0, false, true}, {"a", "1", 1, false, true}, {"a", "1", 0, false, false}, {"a", "1", 1, false, false}, {"a", "1", 2, false, true}},
		"to be retained is news":       {{"a", "1", 0, false, true}, {"a", "1", 0, true, true}, {"a", "1", 0, true, false}},
		"retained already":             {{"a", "1", 0, true, true}, {"a", "1", 0, false, false}, {"a", "1", 0, true, false}},
		"retained before a passing":    {{"a", "1", 0, true, true}, {"a", "2", 0, false, true}, {"a", "2", 0, true, true}},
		"deletes always pass":          {{"a", "", 0, true, true}, {"a", "", 0, true, true}, {"a", "", 1, true, true}},
		"new after a delete":           {{"a", "1", 0, true, true}, {"a", "", 0, true, true}, {"a", "1", 0, true, true}, {"a", "1", 0, true, false}},
		"empty is a payload":           {{"a", "", 0, false, true}, {"a", "", 0, false, false}, {"a", "0", 0, false, true}, {"a", "", 0, false, true}},
		"delete after the empty":       {{"a", "", 0, false, true}, {"a", "", 0, true, true}, {"a", "", 0, false, true}},
		"long payloads":                {{"a", long("x"), 0, false, true}, {"a", long("x"), 0, false, false}, {"a", long("y"), 0, false, true}, {"a", "y", 0, false, true}},
		"numbers are compared as text": {{"a", "1", 0, false, true}, {"a", "1.0", 0, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, onchange.Config{})
			for i, l := range lines {
				m := stage.Message{ID: uint64(i + 1), Topic: l.topic, Payload: []byte(l.payload), QoS: l.qos, Retain: l.retain}
				require.Equal(t, l.passes, passes(t, s, 0, m), "line %d: %v", i+1, l)
			}
		})
	}
}

func long(end string) string { return strings.Repeat("0", 1000) + end }

func TestEqualOnePassesAfterTheMaximumSilence(t *testing.T) {
	s := newStage(t, onchange.Config{MaxSilence: time.Minute})
	m := stage.Message{ID: 1, Topic: "a", Payload: []byte("1")}
	require.True(t, passes(t, s, 0, m))
	require.False(t, passes(t, s, time.Minute-1, m))
	require.True(t, passes(t, s, time.Minute, m))
	require.False(t, passes(t, s, 2*time.Minute-1, m), "the silence begins with the one that passed last")
	require.True(t, passes(t, s, 2*time.Minute, m))
	require.True(t, passes(t, s, -time.Hour, m), "the clock was set back")
}

func TestSilenceHasNoLimitByDefault(t *testing.T) {
	s := newStage(t, onchange.Config{})
	m := stage.Message{ID: 1, Topic: "a", Payload: []byte("1")}
	require.True(t, passes(t, s, 0, m))
	require.False(t, passes(t, s, 100*365*24*time.Hour, m))
}

func TestTopicNotHeardOfForTheLongestIsForgotten(t *testing.T) {
	s := newStage(t, onchange.Config{Topics: 2})
	on := func(topic string) stage.Message { return stage.Message{ID: 1, Topic: topic, Payload: []byte("on")} }
	require.True(t, passes(t, s, 0, on("a")))
	require.True(t, passes(t, s, 0, on("b")))
	require.False(t, passes(t, s, 0, on("a"))) // heard of again, though suppressed
	require.True(t, passes(t, s, 0, on("c")))
	require.False(t, passes(t, s, 0, on("a")))
	require.False(t, passes(t, s, 0, on("c")))
	require.True(t, passes(t, s, 0, on("b")))
}

func TestConfigIsChecked(t *testing.T) {
	for want, c := range map[string]onchange.Config{
		"max_silence: -1s is negative; give a time such as 10m, or 0 for no limit": {MaxSilence: -time.Second, Topics: 1},
		"topics: -1 is not in 1 to 100000000":                                      {Topics: -1},
	} {
		require.EqualError(t, c.Validate(), want)
		_, err := onchange.New(c, nil)
		require.EqualError(t, err, want)
	}
	var c onchange.Config
	c.SetDefaults()
	require.Equal(t, onchange.Config{Topics: 100_000}, c)
	require.NoError(t, c.Validate())
}

func ExampleOnChange() {
	s, err := onchange.New(onchange.Config{MaxSilence: 10 * time.Minute}, nil)
	if err != nil {
		panic(err)
	}
	out, _ := s.Process(context.Background(), time.Now(), []stage.Message{
		{ID: 1, Topic: "door", Payload: []byte("open")},
		{ID: 2, Topic: "door", Payload: []byte("open")},
		{ID: 3, Topic: "door", Payload: []byte("shut")},
	})
	for _, m := range out.Messages {
		fmt.Printf("%d %s\n", m.ID, m.Payload)
	}
	// Output:
	// 1 open
	// 3 shut
}

package stagetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
)

// step is a call: how far the clock moves before it, and what is given.
type step struct {
	after time.Duration
	in    []stage.Message
}

// script is what a stage goes through: the same for the same seed and input.
type script []step

// epoch is when every script begins.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const seeds = 3

// scripts returns the scripts of the checks: the input in one call, then each of its messages alone, then all of it in a random
// order, repeated, among random messages, in calls of random size at random times.
func scripts(input []stage.Message) []script {
	all := make([]script, seeds)
	for seed := range all {
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		s := script{{0, input}}
		for _, m := range input {
			s = append(s, step{time.Second, []stage.Message{m}})
		}
		for range 60 {
			s = append(s, step{randomPause(random), randomMessages(random, input)})
		}
		all[seed] = s.numbered(1)
	}
	return all
}

// numbered gives the messages IDs that grow from the first one.
func (s script) numbered(id uint64) script {
	numbered := make(script, len(s))
	now := epoch
	for i, one := range s {
		now = now.Add(one.after)
		numbered[i] = step{one.after, make([]stage.Message, len(one.in))}
		for k, m := range one.in {
			m.ID = id
			id++
			if m.Time.IsZero() {
				m.Time = now.Add(-time.Millisecond)
			}
			if m.Origin == "" {
				m.Origin = "alice"
			}
			numbered[i].in[k] = m
		}
	}
	return numbered
}

// randomPause is mostly short, now and then long, and rarely negative: a clock may be set back.
func randomPause(random *rand.Rand) time.Duration {
	switch n := random.IntN(100); {
	case n < 30:
		return 0
	case n < 60:
		return time.Duration(random.IntN(1000)) * time.Millisecond
	case n < 90:
		return time.Duration(random.IntN(60)) * time.Second
	case n < 98:
		return time.Duration(random.IntN(120)) * time.Minute
	}
	return -time.Minute
}

func randomMessages(random *rand.Rand, input []stage.Message) []stage.Message {
	in := make([]stage.Message, random.IntN(12))
	for i := range in {
		if len(input) > 0 && random.IntN(2) == 0 {
			in[i] = input[random.IntN(len(input))]
			continue
		}
		in[i] = stage.Message{
			Topic:   topics[random.IntN(len(topics))],
			Payload: randomPayload(random),
			QoS:     byte(random.IntN(3)),
			Retain:  random.IntN(4) == 0,
			Origin:  []string{"alice", "bob"}[random.IntN(2)],
		}
		if len(input) > 0 && random.IntN(2) == 0 {
			in[i].Topic = input[random.IntN(len(input))].Topic
		}
	}
	return in
}

var topics = []string{"a", "a/b", "a/b/c", "a/c", "/", "//", "/a/", "sensors/1/temp", "$app/x", "ünï/çødé", "with space/and\ttab"}

func randomPayload(random *rand.Rand) []byte {
	switch random.IntN(8) {
	case 0:
		return nil
	case 1:
		return []byte{}
	case 2:
		return fmt.Append(nil, random.IntN(3)) // so that equal ones follow each other
	case 3:
		return fmt.Appendf(nil, `{"temp": %d, "id": 12345678901234567890, "list": [1, "two", null]}`, random.IntN(40))
	case 4:
		return []byte(`{"temp": `) // cut off
	case 5:
		return []byte(`[{"n": 1.50}, {"n": 1e400}, {}]`)
	case 6:
		return []byte("plain words, ünïçødé")
	}
	binary := make([]byte, random.IntN(64))
	for i := range binary {
		binary[i] = byte(random.Uint32())
	}
	return binary
}

// largeScript is one of great payloads, topics and calls.
func largeScript() script {
	numbers := "[" + strings.Repeat("1234567890, ", 100_000) + "1]"
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	large := []stage.Message{
		{Topic: "large/zeros", Payload: make([]byte, 8<<20), QoS: 1},
		{Topic: "large/words", Payload: bytes.Repeat([]byte("word "), 1<<18), QoS: 2, Retain: true},
		{Topic: "large/json", Payload: []byte(numbers)},
		{Topic: "large/json", Payload: []byte(deep)},
		{Topic: strings.Repeat("t", 65535), Payload: []byte("1")},
		{Topic: strings.Repeat("/", 65535), Payload: []byte("2")},
	}
	many := make([]stage.Message, 10_000)
	for i := range many {
		many[i] = stage.Message{Topic: fmt.Sprintf("many/%d", i%5000), Payload: fmt.Append(nil, i), QoS: 1}
	}
	return script{{0, large}, {time.Second, many}, {time.Minute, nil}}.numbered(1)
}

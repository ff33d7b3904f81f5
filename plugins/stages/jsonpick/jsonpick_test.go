package jsonpick_test

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/pipeline/stage/stagetest"
	"github.com/weft-relay/weft/plugins/stages/jsonpick"
)

func newStage(t testing.TB, c jsonpick.Config) *jsonpick.Pick {
	t.Helper()
	s, err := jsonpick.New(c, nil)
	require.NoError(t, err)
	return s
}

func message(payload string) stage.Message {
	return stage.Message{ID: 1, Topic: "sensors/7", Payload: []byte(payload), QoS: 1, Retain: true, Origin: "alice"}
}

func process(t *testing.T, c jsonpick.Config, payload string) stage.Output {
	t.Helper()
	out, err := newStage(t, c).Process(context.Background(), time.Unix(0, 0), []stage.Message{message(payload)})
	require.NoError(t, err)
	return out
}

func TestContract(t *testing.T) {
	for name, c := range map[string]jsonpick.Config{
		"refuse": {Pick: "/temp"},
		"split":  {Pick: "/list", Split: true, Missing: "pass"},
		"all":    {Split: true, Missing: "drop"},
	} {
		t.Run(name, func(t *testing.T) {
			stagetest.Test(t, stagetest.Case{
				New: func() stage.Stage { return newStage(t, c) },
				Input: []stage.Message{
					{Topic: "t", Payload: []byte(`{"temp": "21", "list": [1, 2]}`)},
					{Topic: "t", Payload: []byte(`[3, "four"]`), Retain: true},
					{Topic: "t", Retain: true},
				},
			})
		})
	}
}

func TestValueIsPicked(t *testing.T) {
	for _, tt := range []struct{ pick, payload, want string }{
		{"/temp", `{"temp": 21.50}`, `21.50`},
		{"/a/b/c", ` { "x" : {"b":1} , "a" : { "b" : { "c" : true } } } `, `true`},
		{"/a/1", `{"a": [1, [2, 3], 4]}`, `[2, 3]`},
		{"/0", `[null]`, `null`},
		{"/0/0", `[[{"a": "]}"}]]`, `{"a": "]}"}`},
		{"/n", `{"n": 12345678901234567890123.4567890e-300}`, `12345678901234567890123.4567890e-300`}, // the exact text
		{"/n", `{"n": -0}`, `-0`},
		{"/o", `{"o": { "b":1,  "a" : 2 }}`, `{ "b":1,  "a" : 2 }`}, // order and spaces too
		{"/s", `{"s": "on"}`, `on`},
		{"/s", `{"s": "a \"quoted\" \u00fc\n\\"}`, "a \"quoted\" ü\n\\"},
		{"/s", `{"s": ""}`, ``},
		{"/a", `{"a": 1, "a": 2}`, `2`},
		{"/a~1b", `{"a/b": 1}`, `1`}, // the examples of RFC 6901, section 5
		{"/m~0n", `{"m~n": 8}`, `8`},
		{"/~01", `{"~1": 9}`, `9`},
		{"/", `{"": 0}`, `0`},
		{"/ ", `{" ": 7}`, `7`},
		{"/c%d", `{"c%d": 2}`, `2`},
		{`/i\j`, `{"i\\j": 5}`, `5`},
		{`/k"l`, `{"k\"l": 6}`, `6`},
		{"/ü", `{"\u00fc": 1}`, `1`},
		{"/0", `{"0": "a member"}`, `a member`},
		{"/a", `{"b": "\"}", "a": "\\"}`, `\`},
	} {
		out := process(t, jsonpick.Config{Pick: tt.pick}, tt.payload)
		require.Equal(t, []stage.Message{message(tt.want)}, out.Messages, "%v", tt)
		require.Empty(t, out.Refused)
	}
}

func TestWhatIsMissingIsRefusedPassedOrDropped(t *testing.T) {
	for _, tt := range []struct{ pick, payload, reason string }{
		{"/temp", `{"hum": 1}`, "the payload has no /temp"},
		{"/temp", `{"a": {"temp": 1}}`, "the payload has no /temp"},
		{"/a/b", `{"a": 1}`, "the payload has no /a/b"},
		{"/a/b", `{"a": "b"}`, "the payload has no /a/b"},
		{"/2", `[1, 2]`, "the payload has no /2"},
		{"/-", `[1, 2]`, "the payload has no /-"},
		{"/-1", `[1, 2]`, "the payload has no /-1"},
		{"/01", `[1, 2]`, "the payload has no /01"},
		{"/a", `[]`, "the payload has no /a"},
		{"/a", `{}`, "the payload has no /a"},
		{"/A", `{"a": 1}`, "the payload has no /A"},
		{"/a", `{"a": 1`, "the payload is no JSON"},
		{"/a", `{"a": 1} x`, "the payload is no JSON"},
		{"/a", strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), "the payload is no JSON"},
	} {
		out := process(t, jsonpick.Config{Pick: tt.pick}, tt.payload)
		require.Empty(t, out.Messages)
		require.Equal(t, []stage.Refusal{{ID: 1, Reason: tt.reason}}, out.Refused, "%v", tt)

		out = process(t, jsonpick.Config{Pick: tt.pick, Missing: "pass"}, tt.payload)
		require.Equal(t, []stage.Message{message(tt.payload)}, out.Messages)
		require.Empty(t, out.Refused)

		out = process(t, jsonpick.Config{Pick: tt.pick, Missing: "drop"}, tt.payload)
		require.Empty(t, out.Messages)
		require.Empty(t, out.Refused)
	}
}

func TestDeletesPass(t *testing.T) {
	for _, missing := range []string{"refuse", "pass", "drop"} {
		out := process(t, jsonpick.Config{Pick: "/temp", Missing: missing}, "")
		require.Equal(t, []stage.Message{message("")}, out.Messages)
	}
}

func TestArrayIsSplit(t *testing.T) {
	for _, tt := range []struct {
		pick, payload string
		want          []string
	}{
		{"", ` [1, "two", {"three": [3]}, null , [] ] `, []string{"1", "two", `{"three": [3]}`, "null", "[]"}},
		{"/list", `{"list": [1.10,2]}`, []string{"1.10", "2"}},
		{"", `[]`, nil},
		{"", `[ ]`, nil},
	} {
		out := process(t, jsonpick.Config{Pick: tt.pick, Split: true}, tt.payload)
		require.Empty(t, out.Refused)
		require.Len(t, out.Messages, len(tt.want))
		for i, payload := range tt.want {
			require.Equal(t, message(payload), out.Messages[i])
		}
	}
	many := strings.Repeat("1,", 9999) + "1"
	require.Len(t, process(t, jsonpick.Config{Split: true}, "["+many+"]").Messages, 10_000)
	for payload, reason := range map[string]string{
		`{}`:                `what is to be split is no array (pick: "")`,
		`"text"`:            `what is to be split is no array (pick: "")`,
		"[1":                "the payload is no JSON",
		"[" + many + ", 1]": "the array has more than 10000 elements",
	} {
		out := process(t, jsonpick.Config{Split: true}, payload)
		require.Empty(t, out.Messages)
		require.Equal(t, []stage.Refusal{{ID: 1, Reason: reason}}, out.Refused)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for want, c := range map[string]jsonpick.Config{
		"pick: nothing to do; give a pointer such as /temp, or split: true":  {},
		`pick: "a.b" is no JSON pointer; it begins with /, such as /a/b`:     {Pick: "a.b"},
		`pick: "$.a.b" is no JSON pointer; it begins with /, such as /a/b`:   {Pick: "$.a.b"},
		`pick: "/a~b" has a ~ that begins neither ~0 (for ~) nor ~1 (for /)`: {Pick: "/a~b"},
		`pick: "/a~" has a ~ that begins neither ~0 (for ~) nor ~1 (for /)`:  {Pick: "/a~"},
		`missing: "skip" is none of refuse, pass and drop`:                   {Pick: "/a", Missing: "skip"},
	} {
		_, err := jsonpick.New(c, nil)
		require.EqualError(t, err, want)
	}
}

// FuzzPick compares with what encoding/json makes of the payload.
func FuzzPick(f *testing.F) {
	f.Add(`{"a": [1, {"b": "c"}], "\u0061": 2}`, "a", "1")
	f.Add(`[[1e5, " "], "\\\""]`, "0", "1")
	f.Add(`{"": {"~": null}}`, "", "~")
	f.Add(`{"a":1} `, "a", "")
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	f.Fuzz(func(t *testing.T, payload, first, second string) {
		s := newStage(t, jsonpick.Config{Pick: "/" + escape.Replace(first) + "/" + escape.Replace(second)})
		out, err := s.Process(context.Background(), time.Time{}, []stage.Message{{ID: 1, Topic: "t", Payload: []byte(payload)}})
		require.NoError(t, err)
		var document any
		known := json.Unmarshal([]byte(payload), &document) == nil
		want, ok := step(document, first)
		if ok {
			want, ok = step(want, second)
		}
		if !known || !ok {
			require.Empty(t, out.Messages)
			return
		}
		require.Len(t, out.Messages, 1)
		got := out.Messages[0].Payload
		if text, ok := want.(string); ok {
			require.Equal(t, text, string(got))
			return
		}
		var value any
		require.NoError(t, json.Unmarshal(got, &value))
		require.Equal(t, want, value)
		require.Contains(t, payload, string(got))
	})
}

func step(value any, name string) (any, bool) {
	switch v := value.(type) {
	case map[string]any:
		found, ok := v[name]
		return found, ok
	case []any:
		i, err := strconv.Atoi(name)
		if err == nil && i >= 0 && i < len(v) && strconv.Itoa(i) == name {
			return v[i], true
		}
	}
	return nil, false
}

package expr_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/pipeline/stage/stagetest"
	"github.com/weft-relay/weft/plugins/stages/expr"
)

func newStage(t testing.TB, c expr.Config) *expr.Expr {
	t.Helper()
	s, err := expr.New(c, nil)
	require.NoError(t, err)
	return s
}

func message(payload string) stage.Message {
	return stage.Message{
		ID: 1, Topic: "sensors/7/temp", Payload: []byte(payload), QoS: 1, Origin: "alice",
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func process(t *testing.T, c expr.Config, in ...stage.Message) stage.Output {
	t.Helper()
	out, err := newStage(t, c).Process(context.Background(), time.Unix(0, 0), in)
	require.NoError(t, err)
	return out
}

func TestContract(t *testing.T) {
	for name, c := range map[string]expr.Config{
		"refuse": {Filter: "json.temp > 20", Set: expr.Set{Payload: "json.temp", Topic: `topic + "/out"`, QoS: "2", Retain: "not retain"}},
		"pass":   {Filter: "any(json, # == 1)", OnError: "pass"},
		"drop":   {Set: expr.Set{Payload: "upper(text)", Topic: `split(text, " ")[1]`}, OnError: "drop"},
	} {
		t.Run(name, func(t *testing.T) {
			stagetest.Test(t, stagetest.Case{
				New: func() stage.Stage { return newStage(t, c) },
				Input: []stage.Message{
					{Topic: "t", Payload: []byte(`{"temp": 21}`), QoS: 1},
					{Topic: "t", Payload: []byte(`[2, 1]`), QoS: 1},
					{Topic: "t", Payload: []byte("new topic")},
				},
			})
		})
	}
}

func TestFilter(t *testing.T) {
	for source, passes := range map[string]bool{
		`json.temp > 20`:                                     true,
		`json.temp > 21.5`:                                   false,
		`json.temp == 21.5 and json.n == 3`:                  true,
		`"x" in json.tags`:                                   true,
		`any(json.tags, # startsWith "y")`:                   true,
		`json?.missing?.deep == nil`:                         true,
		`(json.missing ?? 5) == 5`:                           true,
		`json.big == 12345678901234567`:                      true,
		`topic == "sensors/7/temp"`:                          true,
		`topic matches "^sensors/[0-9]+/temp$"`:              true,
		`split(topic, "/")[1] == "7"`:                        true,
		`text contains "temp"`:                               true,
		`len(payload) == len(text)`:                          true,
		`payload[0] == 123`:                                  true, // {
		`qos == 1 and not retain`:                            true,
		`origin == "alice"`:                                  true,
		`time.Year() == 2026 and time.Hour() == 3`:           true,
		`time > date("2026-01-01")`:                          true,
		`time + duration("1h") > time`:                       true,
		`let t = json.temp; t > 20 && t < 22`:                true,
		`count(json.tags, len(#) > 0) == 2`:                  true,
		`sum(map(1..3, # * 2)) == 12`:                        true,
		`reduce(json.tags, #acc + #, "") == "xyz"`:           true,
		`filter(json.tags, # == "x")[0] == "x"`:              true,
		`join(json.tags, "-") == "x-yz"`:                     true,
		`replace("aXbX", "X", "YY") == "aYYbYY"`:             true,
		`replace("aXbX", "X", "", 1) == "abX"`:               true,
		`repeat("ab", 3) == "ababab"`:                        true,
		`json.temp + 1 == 22.5 and json.n + 1 == 4`:          true,
		`topic + "/" + origin == "sensors/7/temp/alice"`:     true,
		`fromJSON(text).n == 3`:                              true,
		`map(json.tags, {let up = upper(#); up})[1] == "YZ"`: true,
	} {
		t.Run(source, func(t *testing.T) {
			m := message(`{"temp": 21.5, "n": 3, "tags": ["x", "yz"], "big": 12345678901234567}`)
			out := process(t, expr.Config{Filter: source}, m)
			require.Empty(t, out.Refused)
			require.Equal(t, passes, len(out.Messages) == 1)
			if passes {
				require.Equal(t, m, out.Messages[0])
			}
		})
	}
}

func TestSet(t *testing.T) {
	in := message(`{"temp": 21.5, "id": 7, "room": "<hall>", "on": true}`)
	set := func(change func(*stage.Message)) stage.Message {
		m := in
		change(&m)
		return m
	}
	payload := func(text string) stage.Message {
		return set(func(m *stage.Message) { m.Payload = []byte(text) })
	}
	for _, tt := range []struct {
		set  expr.Set
		want stage.Message
	}{
		{expr.Set{Payload: `json.temp`}, payload("21.5")},
		{expr.Set{Payload: `json.room`}, payload("<hall>")},
		{expr.Set{Payload: `{"room": json.room, "t": json.temp * 2}`}, payload(`{"room":"<hall>","t":43}`)},
		{expr.Set{Payload: `[json.id, nil, json.on]`}, payload("[7,null,true]")},
		{expr.Set{Payload: `payload`}, in},
		{expr.Set{Payload: `payload[0:8]`}, payload(`{"temp":`)},
		{expr.Set{Payload: `text[0:1]`}, payload(`{`)},
		{expr.Set{Payload: `toBase64(text[0:1])`}, payload(`ew==`)},
		{expr.Set{Payload: `""`}, payload("")},
		{expr.Set{Topic: `"rooms/" + json.room`}, set(func(m *stage.Message) { m.Topic = "rooms/<hall>" })},
		{expr.Set{QoS: `qos + 1`}, set(func(m *stage.Message) { m.QoS = 2 })},
		{expr.Set{Retain: `json.temp > 20`}, set(func(m *stage.Message) { m.Retain = true })},
		{expr.Set{Payload: `topic`, Topic: `text[2:6]`}, set(func(m *stage.Message) { m.Topic, m.Payload = "temp", []byte("sensors/7/temp") })},
	} {
		out := process(t, expr.Config{Set: tt.set}, in)
		require.Empty(t, out.Refused, "%v", tt.set)
		require.Equal(t, []stage.Message{tt.want}, out.Messages, "%v", tt.set)
	}
}

func TestUnchangedMessagesKeepTheirBytes(t *testing.T) {
	m := message(" {\"id\" : 12345678901234567890.10,\n\t\"id\":\"\\u00e9\"} ")
	out := process(t, expr.Config{Filter: "json.id == 'é'", Set: expr.Set{QoS: "2"}}, m)
	require.Len(t, out.Messages, 1)
	require.Equal(t, string(m.Payload), string(out.Messages[0].Payload))
}

func TestErrorsRefuseTheMessage(t *testing.T) {
	for _, tt := range []struct {
		payload string
		config  expr.Config
		reason  string
	}{
		{"plain", expr.Config{Filter: "json.temp > 20"}, "filter: the payload is no JSON: invalid character 'p'"},
		{"", expr.Config{Filter: "json.temp > 20"}, "filter: the payload is no JSON: it ends too early"},
		{"{", expr.Config{Filter: "json.temp > 20"}, "filter: the payload is no JSON: it ends too early"},
		{"{} {}", expr.Config{Filter: "json.temp > 20"}, "filter: the payload is no JSON: something follows"},
		{"1e999", expr.Config{Filter: "json > 20"}, "filter: the payload has a number too large: 1e999"},
		{"{}", expr.Config{Filter: "json.temp > 20"}, "filter: invalid operation: <nil> > int"},
		{"{}", expr.Config{Filter: "json.a.b == 1"}, "filter: cannot fetch b from <nil>"},
		{"[]", expr.Config{Filter: "json[3] == 1"}, "filter: index out of range: 3 (array length is 0)"},
		{"[]", expr.Config{Filter: `json contains "x"`}, "filter: a value is []interface {}, not string"},
		{`"yes"`, expr.Config{Filter: "json"}, "filter:"},
		{"{}", expr.Config{Set: expr.Set{Payload: "json.none"}}, "set.payload: the result is nil"},
		{"0", expr.Config{Set: expr.Set{Payload: "1.0 / json"}}, "set.payload: write as JSON: json: unsupported value: +Inf"},
		{"0", expr.Config{Set: expr.Set{Payload: "1 % json"}}, "set.payload: runtime error: integer divide by zero"},
		{`"a/#"`, expr.Config{Set: expr.Set{Topic: "json"}}, `set.topic: topic "a/#": wildcard '#'`},
		{`""`, expr.Config{Set: expr.Set{Topic: "json"}}, `set.topic: topic "": empty`},
		{"7", expr.Config{Set: expr.Set{Topic: "json"}}, "set.topic: the result is of type int, not a text"},
		{"7", expr.Config{Set: expr.Set{QoS: "json"}}, "set.qos: the result is 7, not 0, 1 or 2"},
		{`"x"`, expr.Config{Set: expr.Set{QoS: "json"}}, "set.qos:"},
		{"7", expr.Config{Set: expr.Set{Retain: "json"}}, "set.retain:"},
		{`["a", 1]`, expr.Config{Set: expr.Set{Payload: `join(json, "")`}}, "set.payload: join of a list with int in it"},
	} {
		m := message(tt.payload)
		out := process(t, tt.config, m)
		require.Empty(t, out.Messages, "%v", tt)
		require.Len(t, out.Refused, 1, "%v", tt)
		require.Contains(t, out.Refused[0].Reason, tt.reason)
		require.NotContains(t, out.Refused[0].Reason, "\n")

		tt.config.OnError = "pass"
		out = process(t, tt.config, m)
		require.Equal(t, []stage.Message{m}, out.Messages, "%v", tt)

		tt.config.OnError = "drop"
		out = process(t, tt.config, m)
		require.Empty(t, out.Messages)
		require.Empty(t, out.Refused)
	}
}

func TestDeletesPassUnlessTheFilterIsFalse(t *testing.T) {
	deletes := message("")
	deletes.Retain = true
	renamed := deletes
	renamed.Topic = "alice"
	for _, tt := range []struct {
		config expr.Config
		want   []stage.Message
	}{
		{expr.Config{Filter: "json.temp > 20"}, []stage.Message{deletes}},
		{expr.Config{Filter: "json.temp > 20", OnError: "drop"}, []stage.Message{deletes}},
		{expr.Config{Filter: "json.temp > 20", Set: expr.Set{Payload: "json.temp", Topic: "origin"}}, []stage.Message{renamed}},
		{expr.Config{Set: expr.Set{Payload: `"more"`}}, []stage.Message{deletes}},
		{expr.Config{Filter: "not retain"}, nil},
		{expr.Config{Set: expr.Set{Topic: "json.topic"}, OnError: "drop"}, nil},
	} {
		out := process(t, tt.config, deletes)
		require.Empty(t, out.Refused)
		require.ElementsMatch(t, tt.want, out.Messages, "%v", tt.config)
	}
}

func TestPayloadIsReadOnlyWhereItIsAskedFor(t *testing.T) {
	out := process(t, expr.Config{Filter: `topic startsWith "json/" and json.n == 1`}, message("no JSON"))
	require.Empty(t, out.Refused)
	require.Empty(t, out.Messages)
}

func TestEvaluationIsBounded(t *testing.T) {
	list := "[" + strings.Repeat("1,", 2000) + "1]"
	for _, tt := range []struct{ source, reason string }{
		{`count(json, count(json, true) > 5000) > 5000`, "more than 1000000 turns of loops"},
		{`len(1..2000000) > 0`, "memory budget exceeded"},
		{`len(1..json[0]*2000000) > 0`, "memory budget exceeded"},
		{`len(map(json, map(json, 1))) > 0`, "turns of loops"},
		{`reduce(1..60, #acc + #acc, "doubled") == ""`, "more than 16 MiB of text"},
		{`len(map(json, text + "x")) > 0 and len(map(json, text + text)) > 0`, "more than 16 MiB of text"},
		{`let t = repeat("x", 10000); len(replace(t, "x", t)) > 0`, "more than 16 MiB of text"},
		{`len(repeat(text, 100000)) > 0`, "more than 16 MiB of text"},
		{`len(repeat(text, 4611686018427387904)) > 0`, "more than 16 MiB of text"},
		{`let t = repeat("x", 100000); len(join(split(t, ""), t)) > 0`, "more than 16 MiB of text"},
	} {
		out := process(t, expr.Config{Filter: tt.source}, message(list))
		require.Len(t, out.Refused, 1, tt.source)
		require.Contains(t, out.Refused[0].Reason, tt.reason, tt.source)
	}
}

func TestEachMessageHasItsOwnBounds(t *testing.T) {
	list := "[" + strings.Repeat("1,", 300_000) + "1]"
	c := expr.Config{Filter: `all(json, # == 1) and text != ""`}
	out := process(t, c, message(list), message(list), message(list), message(list))
	require.Empty(t, out.Refused)
	require.Len(t, out.Messages, 4)
}

func TestConfigIsChecked(t *testing.T) {
	for _, tt := range []struct {
		config expr.Config
		want   string
	}{
		{expr.Config{}, "filter: nothing to do; give filter, or set"},
		{expr.Config{Filter: "qos > 0", OnError: "retry"}, `on_error: "retry" is none of refuse, pass and drop`},
		{expr.Config{Filter: "temp > 20"}, `filter: unknown name temp, at column 1; a part of the payload is written json.temp, a text "temp"`},
		{expr.Config{Filter: "json.temp >"}, "filter: unexpected token EOF, at column "},
		{expr.Config{Filter: "qos > 0 and\n  temp"}, "filter: unknown name temp, in line 2, column 3"},
		{expr.Config{Filter: "topic > 20"}, "filter: invalid operation: > (mismatched types string and int), at column 7"},
		{expr.Config{Filter: "qos"}, "filter: expected bool, but got int"},
		{expr.Config{Filter: "payload == 'x'"}, "filter: invalid operation: == (mismatched types []uint8 and string)"},
		{expr.Config{Filter: "payload > 20"}, "at column 9; payload is bytes: write text for its text, json for what it has as JSON"},
		{expr.Config{Filter: "payload.temp > 20"}, "at column 9; payload is bytes: write text"},
		{expr.Config{Filter: "json.temp = 20"}, "at column 11; to compare, write =="},
		{expr.Config{Filter: "now() > time"}, "filter: unknown name now, at column 1"},
		{expr.Config{Filter: "uniq(json) == []"}, "filter: unknown name uniq, at column 1"},
		{expr.Config{Filter: "$env.qos == 1"}, "filter: $env is not available"},
		{expr.Config{Filter: "topic matches '('"}, "filter: error parsing regexp"},
		{
			expr.Config{Filter: "qos == 0" + strings.Repeat(" or qos == 0", 500)},
			"filter: compilation failed: expression exceeds maximum allowed nodes",
		},
		{expr.Config{Set: expr.Set{Topic: "qos"}}, "set.topic: expected string, but got int"},
		{expr.Config{Set: expr.Set{Topic: `topic + "/" + qos`}}, "set.topic: invalid"},
		{expr.Config{Set: expr.Set{QoS: "topic"}}, "set.qos: expected int, but got string"},
		{expr.Config{Set: expr.Set{Retain: "qos"}}, "set.retain: expected bool, but got int"},
		{expr.Config{Set: expr.Set{Payload: "nothing"}}, "set.payload: unknown name nothing, at column 1"},
	} {
		_, err := expr.New(tt.config, nil)
		require.ErrorContains(t, err, tt.want)
		require.NotContains(t, err.Error(), "\n", "%v", tt.config)
		require.EqualError(t, tt.config.Validate(), err.Error())
	}
	_, err := expr.New(expr.Config{Filter: "a", Set: expr.Set{Payload: "b"}}, nil)
	require.EqualError(t, err, "filter: "+unknown("a")+"\nset.payload: "+unknown("b"))
}

func unknown(name string) string {
	return fmt.Sprintf("unknown name %s, at column 1; a part of the payload is written json.%[1]s, a text %[1]q", name)
}

func TestExampleOfTheReadme(t *testing.T) {
	c := expr.Config{
		Filter: `topic startsWith "sensors/" and json?.battery != nil`,
		Set: expr.Set{
			Payload: `{"t": json.temp, "at": time.Unix()}`,
			Topic:   `"site/alice/" + split(topic, "/")[1]`,
			QoS:     "1",
			Retain:  "true",
		},
		OnError: "drop",
	}
	out := process(t, c, message(`{"temp": 21.5}`), message(`{"temp": 21.5, "battery": 80}`), message("no JSON"))
	want := message(`{"at":1767323045,"t":21.5}`)
	want.Topic, want.Retain = "site/alice/7", true
	require.Equal(t, []stage.Message{want}, out.Messages)
	require.Empty(t, out.Refused)
}

// FuzzPayload: whatever a payload is, the message passes, is dropped, or is refused with a reason in one line.
func FuzzPayload(f *testing.F) {
	for _, payload := range []string{"", "1", "{", `{"a": [1, "x", null, 1e400]}`, "\xff", `{"a": {"a": {}}}`} {
		f.Add([]byte(payload))
	}
	s := newStage(f, expr.Config{
		Filter: `json.a > 1 or any(json?.a, # == "x") or text contains "z"`,
		Set:    expr.Set{Payload: "json", Topic: `json?.t ?? topic`, QoS: "json?.q ?? qos"},
	})
	f.Fuzz(func(t *testing.T, payload []byte) {
		out, err := s.Process(context.Background(), time.Time{}, []stage.Message{{ID: 1, Topic: "t", Payload: payload}})
		require.NoError(t, err)
		require.LessOrEqual(t, len(out.Messages)+len(out.Refused), 1)
		for _, r := range out.Refused {
			require.NotContains(t, r.Reason, "\n")
		}
	})
}

package rename_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/pipeline/stage/stagetest"
	"github.com/weft-relay/weft/plugins/stages/rename"
)

func newStage(t testing.TB, c rename.Config) *rename.Rename {
	t.Helper()
	s, err := rename.New(c, nil)
	require.NoError(t, err)
	return s
}

func process(t *testing.T, s stage.Stage, topics ...string) stage.Output {
	t.Helper()
	var in []stage.Message
	for i, topic := range topics {
		in = append(in, stage.Message{ID: uint64(i + 1), Topic: topic, Payload: []byte("p"), QoS: 2, Retain: true, Origin: "bob"})
	}
	out, err := s.Process(context.Background(), time.Unix(0, 0), in)
	require.NoError(t, err)
	return out
}

func TestContract(t *testing.T) {
	for name, c := range map[string]rename.Config{
		"one level":    {From: "sensors/+/temp", To: "site/alice/{1}"},
		"all of a/#":   {From: "a/#", To: "{#}"},
		"many to one":  {From: "+/#", To: "all", Others: "drop"},
		"grows beyond": {From: "+", To: "x/{1}/{1}"},
	} {
		t.Run(name, func(t *testing.T) {
			stagetest.Test(t, stagetest.Case{
				New:   func() stage.Stage { return newStage(t, c) },
				Input: []stage.Message{{Topic: "sensors/1/temp"}, {Topic: "a", Payload: []byte("1")}, {Topic: "a/b"}, {Topic: "sensors/2/temp"}},
			})
		})
	}
}

func TestTopicsAreRenamed(t *testing.T) {
	for _, tt := range []struct{ from, to, topic, want string }{
		{"sensors/+/temp", "site/alice/{1}/temp", "sensors/7/temp", "site/alice/7/temp"},
		{"sensors/+/temp", "site/alice/{1}/temp", "sensors/7/hum", "sensors/7/hum"},
		{"sensors/+/temp", "site/alice/{1}/temp", "sensors/7/temp/x", "sensors/7/temp/x"},
		{"sensors/+/temp", "site/alice/{1}/temp", "sensors/7", "sensors/7"},
		{"sensors/+/temp", "site/alice/{1}/temp", "sensors//temp", "site/alice//temp"},
		{"+/+", "x/{2}/{1}", "a/b", "x/b/a"},
		{"+/+", "x/{2}-of-{1}/{2}", "a/b", "x/b-of-a/b"},
		{"a/+/c/#", "new/{1}/{#}", "a/b/c/d/e", "new/b/d/e"},
		{"a/#", "b/{#}", "a/x/y", "b/x/y"},
		{"a/#", "b/{#}", "a", "b"},   // "a/#" matches the parent level too [MQTT-4.7.1-2]
		{"a/#", "b/{#}", "a/", "b/"}, // an empty level is a level
		{"a/#", "{#}", "a/x", "x"},
		{"a/#", "b", "a/x/y", "b"},
		{"#", "all", "a/x", "all"},
		{"#", "all", "$SYS/x", "$SYS/x"}, // [MQTT-4.7.2-1]
		{"+/x", "new", "$SYS/x", "$SYS/x"},
		{"$SYS/+", "sys/{1}", "$SYS/load", "sys/load"},
		{"/+", "{1}", "/a", "a"},
		{"+/+/+/+/+/+/+/+/+/+", "n/{10}", "1/2/3/4/5/6/7/8/9/ten", "n/ten"},
	} {
		out := process(t, newStage(t, rename.Config{From: tt.from, To: tt.to}), tt.topic)
		want := stage.Message{ID: 1, Topic: tt.want, Payload: []byte("p"), QoS: 2, Retain: true, Origin: "bob"}
		require.Equal(t, []stage.Message{want}, out.Messages, "%v", tt)
		require.Equal(t, tt.want != tt.topic, matching.Match(tt.from, tt.topic), "%v", tt)
	}
}

func TestOthersMayBeDropped(t *testing.T) {
	out := process(t, newStage(t, rename.Config{From: "a/+", To: "b/{1}", Others: "drop"}), "a/1", "c", "a/2", "a/2/3")
	require.Len(t, out.Messages, 2)
	require.Equal(t, "b/1", out.Messages[0].Topic)
	require.Equal(t, "b/2", out.Messages[1].Topic)
	require.Empty(t, out.Refused)
}

func TestInvalidTopicsAreRefused(t *testing.T) {
	out := process(t, newStage(t, rename.Config{From: "a/#", To: "{#}"}), "a", "a/", "a/b")
	require.Equal(t, []stage.Refusal{
		{ID: 1, Reason: `topic "": empty: it must have at least one character`},
		{ID: 2, Reason: `topic "": empty: it must have at least one character`},
	}, out.Refused)
	require.Len(t, out.Messages, 1)

	out = process(t, newStage(t, rename.Config{From: "a/+", To: "b/{1}{1}"}), "a/"+strings.Repeat("x", 40000))
	require.Len(t, out.Refused, 1)
	require.Contains(t, out.Refused[0].Reason, "80002 bytes long: at most 65535 are allowed")
}

func TestConfigIsChecked(t *testing.T) {
	for _, tt := range []struct{ from, to, others, want string }{
		{"", "x", "", `from: filter "": empty`},
		{"a#", "x", "", "from: filter"},
		{"$share/g/a", "x", "", `from: filter "$share/g/a": a shared subscription`},
		{"a", "", "", "to: no topic"},
		{"a/+", "b/{2}", "", `to: "b/{2}" has {2}, but from has 1 levels "+"`},
		{"a/+", "b/{0}", "", "to: \"b/{0}\" has a { that begins neither"},
		{"a/+", "b/{name}", "", "to: \"b/{name}\" has a { that begins neither"},
		{"a/+", "b/{1", "", "to: \"b/{1\" has a { that begins neither"},
		{"a/+", "b/1}", "", "at a wrong place"},
		{"a/+", "b/+", "", "at a wrong place"},
		{"a/#", "b/#", "", "at a wrong place"},
		{"a/+", "b/{#}", "", `has {#}, but from has no "#"`},
		{"a/#", "{#}/b", "", "must be the last level, by itself"},
		{"a/#", "b-{#}", "", "must be the last level, by itself"},
		{"a", "b", "keep", `others: "keep" is neither pass nor drop`},
	} {
		c := rename.Config{From: tt.from, To: tt.to, Others: tt.others}
		_, err := rename.New(c, nil)
		require.ErrorContains(t, err, tt.want, "%v", tt)
		c.SetDefaults()
		require.EqualError(t, c.Validate(), err.Error())
	}
}

func TestLoopsAreFound(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		loops    bool
	}{
		{"a/+", "b/{1}", false},
		{"a/+", "a/b/{1}", false},
		{"a/#", "a/b/{#}", true},       // a/x, a/b/x, a/b/b/x ...
		{"#", "site/alice/{#}", true},  // likewise
		{"+/#", "site/{1}/{#}", true},  // likewise
		{"a/+", "a/x-{1}", true},       // likewise
		{"+/+", "{2}/{1}", true},       // to and fro
		{"a/+", "{1}/b", true},         // a/a, a/b, b/b
		{"+/temp", "site/temp", false}, // a second time changes nothing
		{"+/+", "site/{2}", false},     // nor here
		{"+/#", "site/{#}", false},
		{"a/#", "a/b", false},
		{"#", "all", false},
		{"a/+/temp", "a/{1}/temp", false},
		{"$SYS/#", "sys/{#}", false},
		{"+/#", "$app/{#}", false}, // which a wildcard does not match
		{"b-1/+", "a-{1}/q", false},
		{"a-1/+", "a-{1}/q", true},
		{"a/#", "{#}", false},     // a/a/x, a/x, x: shorter each time
		{"a/b/#", "a/{#}", false}, // likewise
		{"+/+/#", "{1}/{#}", false},
		{"+/+/#", "{2}/{1}/{#}", true},
		{"+/+/#", "{1}/y/{#}", false},
	} {
		_, err := rename.New(rename.Config{From: tt.from, To: tt.to}, nil)
		if !tt.loops {
			require.NoError(t, err, "%v", tt)
			continue
		}
		require.ErrorContains(t, err, "to: ", "%v", tt)
		require.ErrorContains(t, err, "would be renamed again and again", "%v", tt)
	}
}

// FuzzRename: whatever is accepted names topics as the filter says, and no topic for ever.
func FuzzRename(f *testing.F) {
	f.Add("a/+", "b/{1}", "a/x")
	f.Add("+/#", "site/{#}", "a")
	f.Add("+/+/#", "x/{1}/{#}", "a/b/c/d")
	f.Add("a/#", "{#}", "a/a/a")
	f.Add("a-1/+", "a-{1}/q", "a-1/1")
	f.Add("{1}/+", "{1}/{1}", "{1}/q")
	f.Fuzz(func(t *testing.T, from, to, topic string) {
		s, err := rename.New(rename.Config{From: from, To: to, Others: "drop"}, nil)
		if err != nil || matching.ValidateTopic(topic) != nil {
			return
		}
		for range strings.Count(topic, "/") + 3 {
			out := process(t, s, topic)
			require.Equal(t, matching.Match(from, topic), len(out.Messages)+len(out.Refused) == 1)
			if len(out.Messages) == 0 || out.Messages[0].Topic == topic {
				return
			}
			topic = out.Messages[0].Topic
			require.NoError(t, matching.ValidateTopic(topic))
		}
		t.Errorf("renamed again and again, at last to %q", topic)
	})
}

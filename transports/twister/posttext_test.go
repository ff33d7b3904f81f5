package twister

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

func TestReadableMessagesArePostedAsPeopleReadThem(t *testing.T) {
	w := newFeedWorld(t)
	w.alice.Readable = true
	a, _ := open(t, w.alice)
	b, _ := open(t, w.bob)
	require.True(t, a.Bare(transports.Broadcast))
	require.False(t, a.Bare(transports.Direct(bob)))
	feed := feedOf(t, b)
	reads(t, b, alice)
	send := []mqttMessage{
		{topic: "doors/1", payload: []byte("empty")},
		{topic: "fridges/2/temperature", payload: []byte("4.5 °C"), qos: 1, retain: true},
		{topic: "binary", payload: []byte{0, 1, 0xff}, qos: 2},
	}
	for i, b := range send {
		m := b.message("", i)
		m.UUID = fmt.Sprint(i)
		tellAll(t, a, m)
		got := next(t, feed)
		require.Equal(t, b.topic, got.Metadata.Get(transports.MetaTopic))
		require.Equal(t, b.payload, []byte(got.Payload))
		require.Equal(t, fmt.Sprint(b.qos), got.Metadata.Get(transports.MetaQoS))
		require.Equal(t, b.retain, got.Metadata.Get(transports.MetaRetain) == "1")
		require.Equal(t, alice, got.Metadata.Get(transports.MetaFrom))
		got.Ack()
	}
	posts, err := newClient(t, w.atBob).Posts(t.Context(), 10, rpc.PlainPosts, 0, rpc.Range{User: alice})
	require.NoError(t, err)
	texts := map[string]bool{}
	for _, p := range posts {
		texts[p.Text] = true
	}
	require.True(t, texts["doors/1: empty [mqtt]"], "%v", texts)
	require.True(t, texts["fridges/2/temperature: 4.5 °C [mqtt q1 retained]"], "%v", texts)
	err = a.Publish(transports.Broadcast, message.NewMessage("x", []byte("no topic")))
	require.True(t, transports.IsPermanent(err), "%v", err)
}

func TestMessageComesBackTheSameHoweverOdd(t *testing.T) {
	for _, tt := range []struct {
		topic, payload string
		readable       bool
	}{
		{"doors/1", "", true},
		{"doors/1", "a: b [mqtt]", true},
		{"doors/1", " [mqtt q2 retained]", true},
		{"doors/1", "two\nlines\tand more ", true},
		{"doors: 1", "x", false},
		{"doors:", "x", true},
		{"doors/1: x [mqtt]", "y", false},
		{"w1:", "x", false},
		{`{"topic"`, "x", true},
		{"ünïcode/漢", "🐦", true},
		{"a", "\x00", false},
		{"a", "\xff", false},
		{"a", "\u0085", false},
		{"a", strings.Repeat("x", 1900), false},
		{" ", " ", true},
	} {
		for qos := range byte(3) {
			b := mqttMessage{topic: tt.topic, payload: []byte(tt.payload), qos: qos, retain: qos == 1}
			text, ok := b.readable()
			require.Equal(t, tt.readable, ok, "%q: %q", tt.topic, text)
			if ok {
				back, ok := parsePost(text)
				require.True(t, ok)
				require.Equal(t, fmt.Sprint(b), fmt.Sprint(back))
			}
			back, err := unpackMessage(b.pack())
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(b), fmt.Sprint(back))
		}
	}
}

func TestTalkIsNoMessage(t *testing.T) {
	for _, text := range []string{
		"", "hello", "doors/1: empty", "doors/+: x [mqtt]", "x [mqtt]", "a: b [mqtt q3]", "a: b [mqtt q0]", "a: b [mqtt] ", ": x [mqtt]",
		`{"topic": "a"}`, `{"topic": "a", "payload": 5}`, `{"topic": "a", "payload": "?", "qos": 0}`, `{"topic": "+", "payload": "", "qos": 0}`,
		`{"topic": "a", "payload": "", "qos": 3}`, `{"topic": "a", "payload": "", "qos": -1}`, `["topic"]`, `"topic"`, "null", "{", "w1:",
	} {
		_, ok := parsePost(text)
		require.False(t, ok, text)
	}
}

func FuzzPostsAreParsedToWhatTheySay(f *testing.F) {
	f.Add("doors/1: empty [mqtt q1 retained]")
	f.Add(`{"topic": "doors/1", "payload": "ZW1wdHk=", "qos": 0}`)
	f.Fuzz(func(t *testing.T, text string) {
		b, ok := parsePost(text)
		if !ok {
			return
		}
		require.True(t, validTopic(b.topic))
		require.LessOrEqual(t, b.qos, byte(2))
		if again, ok := b.readable(); ok {
			back, ok := parsePost(again)
			require.True(t, ok)
			require.Equal(t, fmt.Sprint(b), fmt.Sprint(back))
		}
		back, ok := parsePost(b.seedText(5))
		require.True(t, ok)
		require.Equal(t, fmt.Sprint(b), fmt.Sprint(back))
	})
}

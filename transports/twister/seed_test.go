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

// bare is a message as the pipeline publishes it.
func bare(topic, payload, qos string) *message.Message {
	m := message.NewMessage(topic+payload, []byte(payload))
	m.Metadata.Set(transports.MetaTopic, topic)
	m.Metadata.Set(transports.MetaQoS, qos)
	return m
}

// The texts are those that the Python bridge's json.dumps has made.
func TestWhatTheBridgeInPythonSendsIsDelivered(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	inbox, err := b.Subscribe(t.Context(), transports.Inbox)
	require.NoError(t, err)
	feed := feedOf(t, b)
	reads(t, b, alice)
	client := newClient(t, w.atAlice)
	_, err = client.DirectMessage(t.Context(), alice, 0, bob, `{"topic": "doors/1", "payload": "ZW1wdHk=", "qos": 0}`)
	require.NoError(t, err)
	postText(t, w.atAlice, alice, 1, `{"topic": "fridges/\u6f22", "payload": "AP8=", "qos": 2}`)
	for _, tt := range []struct {
		from                <-chan *message.Message
		uuid, topic, qos    string
		payload, metaRetain string
	}{
		{inbox, alice + "-0", "doors/1", "0", "empty", ""},
		{feed, alice + "-1", "fridges/漢", "2", "\x00\xff", ""},
	} {
		m := next(t, tt.from)
		require.Equal(t, tt.uuid, m.UUID)
		require.Equal(t, tt.payload, string(m.Payload))
		require.Equal(t, tt.topic, m.Metadata.Get(transports.MetaTopic))
		require.Equal(t, tt.qos, m.Metadata.Get(transports.MetaQoS))
		require.Equal(t, tt.metaRetain, m.Metadata.Get(transports.MetaRetain))
		require.Equal(t, alice, m.Metadata.Get(transports.MetaFrom))
		m.Ack()
	}
}

func TestSeedFormatIsWhatTheBridgeInPythonReads(t *testing.T) {
	w := newFeedWorld(t)
	w.alice.Format, w.alice.Receipts = "seed", ""
	a, _ := open(t, w.alice)
	require.True(t, a.Bare(transports.Broadcast) && a.Bare(transports.Direct(bob)))
	retained := bare("doors/é <&>", "", "2")
	retained.Metadata.Set(transports.MetaRetain, "1")
	require.NoError(t, a.Publish(transports.Direct(bob), bare("doors/1", "empty", "0"), bare("doors/1", "empty", "0"), retained))
	tellAll(t, a, bare("doors/1", "full", "1"))
	client := newClient(t, w.atBob)
	var texts []string
	eventually(t, "all have come", func() bool {
		lists, err := client.DirectMessages(t.Context(), bob, 10, rpc.Range{User: alice})
		require.NoError(t, err)
		texts = nil
		for _, m := range lists[alice] {
			texts = append(texts, m.Text)
		}
		return len(texts) == 3
	})
	require.ElementsMatch(t, []string{
		`{"topic": "doors/1", "payload": "ZW1wdHk=", "qos": 0, "k": 0}`,
		`{"topic": "doors/1", "payload": "ZW1wdHk=", "qos": 0, "k": 1}`,
		`{"topic": "doors/é <&>", "payload": "", "qos": 2, "retain": true, "k": 2}`,
	}, texts, "two of one second are not alike")
	posts, err := client.Posts(t.Context(), 10, rpc.PlainPosts, 0, rpc.Range{User: alice})
	require.NoError(t, err)
	require.Equal(t, `{"topic": "doors/1", "payload": "ZnVsbA==", "qos": 1, "k": 3}`, posts[len(posts)-1].Text)
}

func TestMessageTooLongForTheSeedsFormatIsRefusedForGood(t *testing.T) {
	w := newFeedWorld(t)
	w.alice.Format = "seed"
	a, _ := open(t, w.alice)
	for topic, limit := range map[string]int{transports.Direct(bob): maxText, transports.Broadcast: maxPostText} {
		fits := 0
		for len((mqttMessage{topic: "t", payload: make([]byte, fits+1)}).seedText(maxSeedK)) <= limit {
			fits++
		}
		require.NoError(t, a.Publish(topic, bare("t", strings.Repeat("x", fits), "0")))
		err := a.Publish(topic, bare("t", strings.Repeat("x", fits+3), "0"))
		require.True(t, transports.IsPermanent(err), "%v", err)
		require.ErrorContains(t, err, fmt.Sprint(limit))
	}
	for _, m := range []*message.Message{bare("", "x", "0"), bare("a/#", "x", "0"), bare("t", "x", "3")} {
		err := a.Publish(transports.Direct(bob), m)
		require.True(t, transports.IsPermanent(err), "%v", err)
	}
}

func TestTalkAmongDirectMessagesIsCounted(t *testing.T) {
	w := newFeedWorld(t)
	b, _ := open(t, w.bob)
	_, err := newClient(t, w.atAlice).DirectMessage(t.Context(), alice, 0, bob, "hello bob")
	require.NoError(t, err)
	eventually(t, "it is counted", func() bool { return b.Report().Dropped[dropForeign] == 1 })
}

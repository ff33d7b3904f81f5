package mqtt_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

// Mosquitto hangs up on a topic of more than 200 levels. Is that one message given up and named, and does everything before
// and behind it arrive, in order?
func TestMessageThatTheBrokerHangsUpOnIsGivenUpAlone(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprint(qos), func(t *testing.T) {
			broker := startMosquitto(t)
			receiver := session(t, config(broker.url(), "receiver"), nil)
			ch, err := receiver.Subscribe(t.Context(), "good")
			require.NoError(t, err)
			got := collect(ch)

			sender := session(t, config(broker.url(), "sender"), nil)
			var batch []*message.Message
			var want []string
			for i := range 100 {
				batch = append(batch, raw("good", fmt.Sprint(i), qos))
				want = append(want, fmt.Sprint(i))
			}
			batch[50].Metadata.Set(transports.MetaTopic, strings.Repeat("x/", 250))
			batch[50].UUID = "poison"
			want = append(want[:50], want[51:]...)
			err = sender.Publish("", batch...)
			var refused *mqtt.Refusal
			require.ErrorAs(t, err, &refused)
			require.True(t, transports.IsPermanent(err))
			require.Equal(t, []string{"poison"}, refused.UUIDs)
			eventually(t, 10*time.Second, "the others arrive", func() bool { return slices.Contains(got.payloads(), "99") })
			require.Equal(t, want, firsts(got.payloads()))
			require.EqualValues(t, 1, sender.Counters().Refused)
			require.NoError(t, sender.Publish("", raw("good", "after", qos)))
		})
	}
}

// A client publishes many topics that Mosquitto hangs up on. Do they cost the connections that it takes to find out about the first
// one alone, and does everything else arrive? What has another reason says nothing about others.
func TestBrokerIsTriedWithOneMessageOfAKindAlone(t *testing.T) {
	for name, topic := range map[string]string{"levels": strings.Repeat("x/", 220), "control": "x/\x01/"} {
		t.Run(name, func(t *testing.T) {
			broker := startMosquitto(t)
			receiver := session(t, config(broker.url(), "receiver"), nil)
			ch, err := receiver.Subscribe(t.Context(), "good/#")
			require.NoError(t, err)
			got := collect(ch)
			sender := session(t, config(broker.url(), "sender"), nil)
			require.NoError(t, sender.Publish("", raw("good", "before", 1)))
			for round := range 2 {
				var batch []*message.Message
				var bad []string
				for i := range 20 {
					m := raw(topic+strings.Repeat("y/", i), "bad", byte(1+i%2))
					m.UUID = fmt.Sprint(round, "-", i)
					bad, batch = append(bad, m.UUID), append(batch, m)
				}
				deepest := "good" + strings.Repeat("/x", 150)
				batch = append(batch, raw(deepest, fmt.Sprint(round), 1))
				var refused *mqtt.Refusal
				require.ErrorAs(t, sender.Publish("", batch...), &refused)
				require.ElementsMatch(t, bad, refused.UUIDs)
				eventually(t, 10*time.Second, "what is behind them arrives", func() bool { return slices.Contains(got.payloads(), fmt.Sprint(round)) })
				require.EqualValues(t, 6, sender.Report().Reconnects)
			}
			require.EqualValues(t, 40, sender.Counters().Refused)
		})
	}
}

// firsts returns the payloads without repeats, in the order in which each came first.
func firsts(payloads []string) (first []string) {
	for _, p := range payloads {
		if !slices.Contains(first, p) {
			first = append(first, p)
		}
	}
	return first
}

// Is a message that was in flight when the process was killed, and that the broker then hangs up on, reported as lost? No
// Publish waits for it any more.
func TestLossOfMessageOfTheLastRunIsReported(t *testing.T) {
	broker := startMosquitto(t)
	poison := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	poison.Qos, poison.MessageID, poison.TopicName = 2, 7, strings.Repeat("x/", 250)
	var packet bytes.Buffer
	require.NoError(t, poison.Write(&packet))
	store := mqtt.NewMemoryStore()
	store.PutPacket(7, "poison", packet.Bytes())

	log := &logBuffer{}
	s, err := mqtt.New(config(broker.url(), "sender"), store, nil, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context()))
	defer s.Close()
	require.NoError(t, s.Publish("", raw("good", "after", 2)))
	require.EqualValues(t, 1, s.Counters().Refused)
	require.EqualValues(t, 1, s.Counters().Orphans)
	require.Contains(t, s.Report().Detail, `1 messages lost, the last to topic "x/x/`)
	require.Contains(t, log.String(), "level=ERROR")
}

package mqtt_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
)

// Mosquitto lets a client have max_inflight_messages (20) unfinished messages, and answers a QoS 1 message beyond them with
// a PUBACK although it throws it away. Does every message arrive when QoS 1 follows many at QoS 2?
func TestMixedQoSStaysWithinTheBrokersQuota(t *testing.T) {
	broker := startMosquitto(t, "max_queued_messages 3000") // or it would drop what a slow receiver is behind with
	receiver := session(t, config(broker.url(), "receiver"), nil)
	ch, err := receiver.Subscribe(t.Context(), "mixed")
	require.NoError(t, err)
	got := collect(ch)

	sender := session(t, config(broker.url(), "sender"), nil)
	const total = 2000
	batch := make([]*message.Message, total)
	for i := range batch {
		batch[i] = raw("mixed", fmt.Sprint(i), byte(1+i%2))
	}
	require.NoError(t, sender.Publish("", batch...))
	eventually(t, 10*time.Second, "everything arrives", func() bool { return len(got.payloads()) == total })
	require.Zero(t, sender.Report().Reconnects)
}

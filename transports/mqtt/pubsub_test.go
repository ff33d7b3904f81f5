package mqtt_test

import (
	"context"
	"hash/fnv"
	"strconv"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

// atQoS publishes everything at one QoS.
type atQoS struct {
	mqtt.Envelope
	qos byte
}

func (m atQoS) Marshal(topic string, msg *message.Message) (mqtt.Publication, error) {
	p, err := m.Envelope.Marshal(topic, msg)
	p.QoS = m.qos
	return p, err
}

// construct returns a publisher and a subscriber as two sessions: what one session publishes never comes back to it.
func construct(url string, marshal mqtt.Marshaler) tests.PubSubConstructor {
	start := func(t *testing.T, clientID string) *mqtt.Session {
		s, err := mqtt.New(config(url, clientID), nil, marshal, discard())
		require.NoError(t, err)
		require.NoError(t, s.Start(context.Background()))
		t.Cleanup(func() { s.Close() })
		return s
	}
	return func(t *testing.T) (message.Publisher, message.Subscriber) {
		// Subscribers of one test share a client identifier, so that a later one takes up the session of an earlier one.
		h := fnv.New64()
		h.Write([]byte(t.Name()))
		return start(t, ""), start(t, "suite-"+strconv.FormatUint(h.Sum64(), 36))
	}
}

// Does a session pass Watermill's own conformance suite? What is declared: order is guaranteed; at QoS 2 delivery is exactly
// once, at QoS 1 at least once; the broker's session outlives an instance, but two instances at a time take the connection from each other. Not
// declared: consumer groups (MQTT 3.1.1 has none), old messages for new subscribers, and that contexts cross.
func TestSessionPassesWatermillSuite(t *testing.T) {
	brokers := map[string]string{
		"mosquitto": startMosquitto(t, "max_queued_messages 0").url(),
		"built-in":  startBroker(t, mqtt.BrokerConfig{}).URL(),
	}
	for name, url := range brokers {
		for _, qos := range []byte{1, 2} {
			t.Run(name+"/qos "+strconv.Itoa(int(qos)), func(t *testing.T) {
				features := tests.Features{GuaranteedOrder: true, ExactlyOnceDelivery: qos == 2, Persistent: true, RequireSingleInstance: true}
				tests.TestPubSub(t, features, construct(url, atQoS{qos: qos}), nil)
			})
		}
	}
}

var _ transports.Transport = (*mqtt.Broker)(nil)

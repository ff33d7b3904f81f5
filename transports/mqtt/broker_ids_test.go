package mqtt_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/mqtt"
)

// away connects a client with a session that is kept.
func away(t *testing.T, addr string, version byte, id string) *wire {
	t.Helper()
	w, code := dialWire(t, addr, version, id, "panel", func(p *packets.Packet) {
		p.Connect.Clean = false
		p.Properties.SessionExpiryInterval, p.Properties.SessionExpiryIntervalFlag = 3600, true
	})
	require.Zero(t, code)
	return w
}

func (w *wire) ack(kind byte, id uint16) {
	w.t.Helper()
	p := packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id}
	switch kind {
	case packets.Puback:
		w.send(p.PubackEncode, &p)
	case packets.Pubrec:
		w.send(p.PubrecEncode, &p)
	case packets.Pubrel:
		p.FixedHeader.Qos = 1
		w.send(p.PubrelEncode, &p)
	case packets.Pubcomp:
		w.send(p.PubcompEncode, &p)
	}
}

// Messages wait for a client that begins to number at 1 each time it connects, as mosquitto_sub does. Is its subscription granted while the
// broker's messages have the same identifiers, and does it get every message?
func TestClientThatWasAwayMaySubscribeAndGetsWhatWaited(t *testing.T) {
	for _, version := range []byte{4, 5} {
		for qos := byte(1); qos <= 2; qos++ {
			t.Run(fmt.Sprintf("version %d, QoS %d", version, qos), func(t *testing.T) {
				b := startBroker(t, mqtt.BrokerConfig{DataDir: t.TempDir()})
				w := away(t, b.Addr(), version, "vacationer")
				require.Equal(t, []byte{qos}, w.subscribeAt(qos, 1, "a"))
				require.NoError(t, w.conn.Close())
				own := session(t, config(b.URL(), "own"), nil)
				const n = 20
				for i := range n {
					require.NoError(t, own.Publish("", raw("a", fmt.Sprint(i), qos)))
				}
				w = away(t, b.Addr(), version, "vacationer")
				for i := range n {
					p := w.read(packets.Publish)
					require.Equal(t, fmt.Sprint(i), string(p.Payload))
				}
				for id := uint16(1); id <= n; id++ {
					require.Equal(t, []byte{qos}, w.subscribeAt(qos, id, "b"), "identifier %d", id)
				}
			})
		}
	}
}

// A client publishes with the identifier of a message that it has not acknowledged. Is that message delivered again?
func TestOwnPublishLeavesTheMessageOfTheSameIdentifierDue(t *testing.T) {
	for qos := byte(1); qos <= 2; qos++ {
		t.Run(fmt.Sprintf("QoS %d", qos), func(t *testing.T) {
			dir := t.TempDir()
			b := startBroker(t, mqtt.BrokerConfig{DataDir: dir})
			before := subscribe(t, session(t, config(b.URL(), "before"), nil), "#")
			w := away(t, b.Addr(), 4, "both")
			require.Equal(t, []byte{2}, w.subscribeAt(2, 9, "in"))
			own := session(t, config(b.URL(), "own"), nil)
			require.NoError(t, own.Publish("", raw("in", "due", 2)))
			id := w.read(packets.Publish).PacketID

			w.publish("out", qos, id)
			if qos == 1 {
				require.Equal(t, id, w.read(packets.Puback).PacketID)
			} else {
				require.Equal(t, id, w.read(packets.Pubrec).PacketID)
			}
			eventually(t, 5*time.Second, "both messages", func() bool { return before.len() == 2 })
			require.NoError(t, w.conn.Close())
			require.NoError(t, b.Close())
			b = startBroker(t, mqtt.BrokerConfig{DataDir: dir}) // the exchange is taken up again after a restart too

			after := subscribe(t, session(t, config(b.URL(), "after"), nil), "#")
			w = away(t, b.Addr(), 4, "both")
			p := w.read(packets.Publish)
			require.Equal(t, "due", string(p.Payload))
			require.Equal(t, id, p.PacketID)
			if qos == 2 {
				again := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 2, Dup: true}, TopicName: "out", PacketID: id, Payload: []byte("out")}
				w.send(again.PublishEncode, &again)
				require.Equal(t, id, w.read(packets.Pubrec).PacketID)
				w.ack(packets.Pubrel, id)
				require.Equal(t, id, w.read(packets.Pubcomp).PacketID)
			}
			w.ack(packets.Pubrec, id)
			require.Equal(t, id, w.read(packets.Pubrel).PacketID)
			w.ack(packets.Pubcomp, id)

			require.NoError(t, session(t, config(b.URL(), "own"), nil).Publish("", raw("out", "end", 2)))
			eventually(t, 5*time.Second, "the last message", func() bool { return after.len() > 0 })
			require.Equal(t, []string{"end"}, after.payloads(), "what was received before the restart is not passed on again")
			require.Equal(t, []string{"due", "out"}, before.payloads())
		})
	}
}

// A client of MQTT 5 sends again what the broker has received already. Is it told so, and not that its identifier is in use?
func TestRepeatedPublishIsReceivedAndNotRefused(t *testing.T) {
	b := startBroker(t, mqtt.BrokerConfig{})
	w := away(t, b.Addr(), 5, "repeater")
	for range 2 {
		w.publish("a", 2, 7)
		p := w.read(packets.Pubrec)
		require.Equal(t, uint16(7), p.PacketID)
		require.Zero(t, p.ReasonCode)
	}
	w.ack(packets.Pubrel, 7)
	require.Equal(t, uint16(7), w.read(packets.Pubcomp).PacketID)
}

package mqtt_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/mqtt"
)

// Does a message keep its place that the built-in broker takes while the session of its receiver moves to a new
// connection? Large messages make that moment long.
func TestMessageKeepsItsPlaceWhileTheSessionMoves(t *testing.T) {
	b := startBroker(t, mqtt.BrokerConfig{DataDir: t.TempDir()})
	p := startProxy(t, b.Addr())
	cfg := config(via(b.URL(), p), "receiver")
	cfg.ReconnectMin, cfg.ReconnectMax, cfg.Window = time.Millisecond, 5*time.Millisecond, 10
	got := subscribe(t, session(t, cfg, nil), "a")
	sender := session(t, config(b.URL(), "sender"), nil)
	p.set(func(p *proxy) { p.watch = every(10, true, packets.Pubcomp, cutAfter) })
	const n = 300
	var msgs []*message.Message
	for i := range n {
		msgs = append(msgs, raw("a", fmt.Sprintf("%d%s", i, strings.Repeat(" ", 20_000)), 2))
	}
	require.NoError(t, sender.Publish("", msgs...))
	eventually(t, 30*time.Second, "all messages", func() bool { return got.len() >= n })
	for i, payload := range got.payloads() {
		require.Equal(t, fmt.Sprint(i), strings.TrimSpace(payload), "message %d of %d", i, got.len())
	}
	require.Equal(t, n, got.len())
}

package mqtt_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/mqtt"
)

// Does StopWaiting end what waits for a broker that is away, at every QoS, and what is published after it?
func TestStopWaitingEndsPublishWithoutBroker(t *testing.T) {
	s := session(t, config(fmt.Sprintf("mqtt://127.0.0.1:%d", freePort(t)), "sender"), nil)
	results := make(chan error, 3)
	for qos := range byte(3) {
		go func() { results <- s.Publish("", raw("a", fmt.Sprint(qos), qos)) }()
	}
	s.StopWaiting()
	for range 3 {
		require.ErrorIs(t, within(t, results), mqtt.ErrClosed)
	}
	require.ErrorIs(t, s.Publish("", raw("a", "late", 2)), mqtt.ErrClosed)
}

// Does StopWaiting leave a broker that is there the time to answer, and stop waiting when the connection is lost? The
// message at QoS 2 that it leaves behind arrives after the next start, once.
func TestStopWaitingLosesNothingAtQoS2(t *testing.T) {
	broker := startMosquitto(t)
	got := subscribe(t, session(t, config(broker.url(), "receiver"), nil), "a")
	p := startProxy(t, broker.address())
	store := mqtt.NewMemoryStore()
	s := session(t, config(via(broker.url(), p), "sender"), store)
	require.NoError(t, s.Publish("", raw("a", "0", 2)))

	p.set(func(p *proxy) { p.watch = every(1, false, packets.Pubrec, swallow) })
	result := make(chan error, 1)
	go func() { result <- s.Publish("", raw("a", "1", 2)) }()
	eventually(t, 5*time.Second, "the message is in flight", func() bool { return stored(store) == 1 })
	s.StopWaiting()
	select {
	case err := <-result:
		t.Fatalf("published with a connection: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	p.set(func(p *proxy) { p.deaf = true })
	p.cut()
	require.ErrorIs(t, within(t, result), mqtt.ErrClosed)
	require.NoError(t, s.Close())
	require.Equal(t, 1, stored(store))

	next := session(t, config(broker.url(), "sender"), store)
	require.NoError(t, next.Publish("", raw("a", "2", 2)))
	exactly(t, got, 3)
}

func stored(s mqtt.Store) (n int) {
	for range s.Packets() {
		n++
	}
	return n
}

func within(t *testing.T, results <-chan error) error {
	t.Helper()
	select {
	case err := <-results:
		return err
	case <-time.After(5 * time.Second):
		t.Fatal("Publish still waits")
		return nil
	}
}

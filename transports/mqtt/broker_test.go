package mqtt_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

func startBroker(t testing.TB, cfg mqtt.BrokerConfig) *mqtt.Broker {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	b, err := mqtt.NewBroker(cfg, discard())
	require.NoError(t, err)
	require.NoError(t, b.Start(context.Background()))
	t.Cleanup(func() { b.Close() })
	return b
}

// Does the built-in broker honour the bridge bit: no echoes, and the retain flag as it was published?
func TestBuiltInBrokerHonoursBridgeBit(t *testing.T) {
	broker := startBroker(t, mqtt.BrokerConfig{})
	one := session(t, config(broker.URL(), "one"), nil)
	two := session(t, config(broker.URL(), "two"), nil)
	got := subscribe(t, one, "#")
	require.NoError(t, one.Publish("", raw("x", "own", 1)))
	require.NoError(t, two.Publish("", retained("x", "theirs", 2)))
	eventually(t, 5*time.Second, "the other's message", func() bool { return got.len() > 0 })
	assert.Equal(t, []string{"theirs"}, got.payloads())
	assert.Equal(t, "1", got.msgs[0].Metadata.Get(transports.MetaRetain))
}

// Are users, passwords and rights enforced, and is the process's own session always let in?
func TestBuiltInBrokerEnforcesUsersAndRights(t *testing.T) {
	broker := startBroker(t, mqtt.BrokerConfig{Users: []mqtt.User{
		{Name: "reader", Password: "r", Read: []string{"open/#"}},
		{Name: "all", Password: "a"},
		{Name: "none", Password: "n", Read: []string{}, Write: []string{"open/#"}},
	}})
	own := session(t, config(broker.URL(), "own"), nil)
	as := func(id, user, password string) *mqtt.Session {
		cfg := config("mqtt://"+broker.Addr(), id)
		cfg.Username, cfg.Password = user, password
		return session(t, cfg, nil)
	}
	reader, all := as("reader", "reader", "r"), as("all", "all", "a")
	wrong := as("wrong", "all", "guess")
	got := subscribe(t, reader, "#")
	_, err := as("none", "none", "n").Subscribe(t.Context(), "#")
	require.ErrorIs(t, err, mqtt.ErrSubscriptionRefused, "an empty list is a right to nothing")
	require.NoError(t, own.Publish("", raw("secret/1", "hidden", 1), raw("open/1", "one", 1)))
	require.NoError(t, all.Publish("", raw("open/2", "two", 1)))
	eventually(t, 5*time.Second, "both open messages", func() bool { return got.len() >= 2 })
	assert.Equal(t, []string{"one", "two"}, got.payloads())
	eventually(t, 5*time.Second, "the refusal in the report", func() bool {
		return strings.HasPrefix(wrong.Report().Detail, "broker refused: bad user name or password")
	})
}

// A client sends CONNECT a second time, which MQTT forbids [MQTT-3.1.0-2]. Does that end its own connection and nothing else?
func TestSecondConnectOfAClientEndsItsConnectionOnly(t *testing.T) {
	broker := startBroker(t, mqtt.BrokerConfig{})
	other := session(t, config(broker.URL(), "other"), nil)
	got := subscribe(t, other, "#")
	conn, err := net.Dial("tcp", broker.Addr())
	require.NoError(t, err)
	defer conn.Close()
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.ClientIdentifier, connect.CleanSession = "MQTT", 4, "twice", true
	require.NoError(t, connect.Write(conn))
	_, err = packets.ReadPacket(conn)
	require.NoError(t, err)
	require.NoError(t, connect.Write(conn))
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = io.Copy(io.Discard, conn)
	require.NoError(t, err, "the connection is closed")
	require.NoError(t, session(t, config(broker.URL(), "sender"), nil).Publish("", raw("a", "still there", 1)))
	eventually(t, 5*time.Second, "the message", func() bool { return got.len() == 1 })
}

// A connection is open that never says anything. Does the broker stop all the same?
func TestSilentConnectionDoesNotHoldUpTheStop(t *testing.T) {
	broker := startBroker(t, mqtt.BrokerConfig{})
	conn, err := net.Dial("tcp", broker.Addr())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, session(t, config(broker.URL(), "later"), nil).Publish("", raw("a", "x", 1)), "it was accepted before this one")
	done := make(chan error, 1)
	go func() { done <- broker.Close() }()
	require.NoError(t, within(t, done))
}

// Clients connect without end while the broker stops. Does it stop, whatever each of them has sent so far?
func TestBrokerStopsWhileClientsCome(t *testing.T) {
	for range 20 {
		b, err := mqtt.NewBroker(mqtt.BrokerConfig{Listen: "127.0.0.1:0"}, discard())
		require.NoError(t, err)
		require.NoError(t, b.Start(context.Background()))
		address := b.Addr()
		var clients sync.WaitGroup
		connected := make(chan struct{}, 4)
		for range 4 {
			clients.Go(func() {
				for {
					conn, err := net.Dial("tcp", address)
					if err != nil {
						return // it has stopped
					}
					defer conn.Close()
					select {
					case connected <- struct{}{}:
					default:
					}
				}
			})
		}
		<-connected
		require.NoError(t, b.Close())
		clients.Wait()
	}
}

package mqtt_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/mqtt"
)

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// startLogged starts a session with the URL and returns its log.
func startLogged(t *testing.T, url string) *logBuffer {
	log := &logBuffer{}
	s, err := mqtt.New(mqtt.Config{URL: url}, nil, nil, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	require.NoError(t, s.Start(context.Background()))
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return log
}

func TestConnectionIsLoggedWithItsAddressAndNoPassword(t *testing.T) {
	broker := startBroker(t, mqtt.BrokerConfig{Listen: "127.0.0.1:0"})
	for address, want := range map[string]string{
		broker.Addr(): `level=INFO msg="broker up" url=mqtt://` + broker.Addr(),
		"127.0.0.1:1": `level=WARN msg="no broker connection" url=mqtt://127.0.0.1:1`,
	} {
		log := startLogged(t, "mqtt://panel:s3cret@"+address)
		eventually(t, 5*time.Second, want, func() bool { return strings.Contains(log.String(), want) })
		assert.NotContains(t, log.String(), "s3cret")
	}
}

// The broker is away for long, and tried often. Is that logged once, and again when it was there in between?
func TestTheSameReasonForNoConnectionIsLoggedOnce(t *testing.T) {
	log, address := &logBuffer{}, fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cfg := mqtt.Config{URL: "mqtt://" + address, ReconnectMin: 20 * time.Millisecond, ReconnectMax: 20 * time.Millisecond}
	s, err := mqtt.New(cfg, nil, nil, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	refused := func() int { return strings.Count(log.String(), "no broker connection") }
	eventually(t, 5*time.Second, "the reason", func() bool { return refused() == 1 })
	tries := 0
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	for ; tries < 3; tries++ { // each hung up on without a CONNACK
		conn, err := listener.Accept()
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	require.NoError(t, listener.Close())
	broker, err := mqtt.NewBroker(mqtt.BrokerConfig{Listen: address}, discard())
	require.NoError(t, err)
	require.NoError(t, broker.Start(t.Context()))
	eventually(t, 5*time.Second, "the connection", func() bool { return isUp(s) })
	before := refused()
	require.LessOrEqual(t, before, 3, "refused, and hung up on in one or two ways: %s", log.String())
	require.NoError(t, broker.Close())
	eventually(t, 5*time.Second, "the reason again", func() bool { return strings.Count(log.String(), "connection refused") == 2 })
}

func TestWhatIsNoBrokerIsCalledSo(t *testing.T) {
	for _, greeting := range []string{"INFO {\"server_id\":\"x\"}\r\n", "HTTP/1.1 400 Bad Request\r\n", "SSH-2.0-x\r\n"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = conn.Write([]byte(greeting)) // the log shows whether it came
			}
		}()
		log := startLogged(t, "mqtt://"+listener.Addr().String())
		eventually(t, 5*time.Second, greeting, func() bool { return strings.Contains(log.String(), "is not an MQTT broker") })
	}
}

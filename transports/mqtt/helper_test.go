package mqtt_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/mqtt"
)

// mosquitto is a real broker on a free loopback port, that can be killed and started again on the same port.
type mosquitto struct {
	t    testing.TB
	port int
	conf string
	cmd  *exec.Cmd
}

// durable makes Mosquitto keep everything over an orderly restart. After kill -9 it has what it saved last.
var durable = []string{"persistence true", "autosave_interval 1", "max_queued_messages 0"}

// startMosquitto starts a broker with anonymous access and the lines of configuration that are given.
func startMosquitto(t testing.TB, lines ...string) *mosquitto {
	t.Helper()
	m := &mosquitto{t: t, port: freePort(t)}
	dir := t.TempDir()
	m.conf = filepath.Join(dir, "mosquitto.conf")
	conf := append([]string{
		fmt.Sprintf("listener %d 127.0.0.1", m.port), "persistence_location " + dir + "/",
	}, lines...)
	if !strings.Contains(strings.Join(lines, "\n"), "allow_anonymous") {
		conf = append(conf, "allow_anonymous true")
	}
	if os.Geteuid() == 0 {
		conf = append(conf, "user root") // or it would drop to a user that may not write into dir
	}
	require.NoError(t, os.WriteFile(m.conf, []byte(strings.Join(conf, "\n")+"\n"), 0o600))
	m.start()
	t.Cleanup(m.kill)
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		m.t.Fatal("these tests need a real broker: apt-get install mosquitto")
	}
	m.cmd = exec.Command(path, "-c", m.conf)
	require.NoError(m.t, m.cmd.Start())
	eventually(m.t, 10*time.Second, "mosquitto listens", func() bool {
		conn, err := net.Dial("tcp", m.address())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// kill ends the broker as kill -9 does.
func (m *mosquitto) kill() {
	if m.cmd != nil {
		m.cmd.Process.Kill()
		m.cmd.Wait()
		m.cmd = nil
	}
}

// stop ends the broker in order: it saves its sessions.
func (m *mosquitto) stop() {
	require.NoError(m.t, m.cmd.Process.Signal(syscall.SIGTERM))
	m.cmd.Wait()
	m.cmd = nil
}

func (m *mosquitto) address() string { return fmt.Sprintf("127.0.0.1:%d", m.port) }
func (m *mosquitto) url() string     { return "mqtt://" + m.address() }

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// eventually polls the condition until it holds or the time is over.
func eventually(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// config returns a configuration with short pauses.
func config(url, clientID string) mqtt.Config {
	return mqtt.Config{URL: url, ClientID: clientID, ReconnectMin: 20 * time.Millisecond, ReconnectMax: 200 * time.Millisecond}
}

// session starts a session that the test's end closes.
func session(t testing.TB, cfg mqtt.Config, store mqtt.Store) *mqtt.Session {
	t.Helper()
	s, err := mqtt.New(cfg, store, nil, discard())
	require.NoError(t, err)
	require.NoError(t, s.Start(context.Background()))
	t.Cleanup(func() { s.Close() })
	return s
}

func isUp(s *mqtt.Session) bool { return s.Report().State == transports.Up }

// raw returns a message for the Raw marshaler.
func raw(topic, payload string, qos byte) *message.Message {
	msg := message.NewMessage("uuid-"+payload, []byte(payload))
	msg.Metadata.Set(transports.MetaTopic, topic)
	msg.Metadata.Set(transports.MetaQoS, fmt.Sprint(qos))
	return msg
}

func retained(topic, payload string, qos byte) *message.Message {
	msg := raw(topic, payload, qos)
	msg.Metadata.Set(transports.MetaRetain, "1")
	return msg
}

// inbox acknowledges what comes on a channel and keeps it.
type inbox struct {
	mu   sync.Mutex
	msgs []*message.Message
}

func collect(messages <-chan *message.Message) *inbox {
	b := &inbox{}
	go func() {
		for msg := range messages {
			b.mu.Lock()
			b.msgs = append(b.msgs, msg)
			b.mu.Unlock()
			msg.Ack()
		}
	}()
	return b
}

func (b *inbox) payloads() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, msg := range b.msgs {
		all = append(all, string(msg.Payload))
	}
	return all
}

func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.msgs)
}

func subscribe(t testing.TB, s *mqtt.Session, filter string) *inbox {
	t.Helper()
	messages, err := s.Subscribe(context.Background(), filter)
	require.NoError(t, err)
	return collect(messages)
}

// via returns the broker's URL with the proxy's address, user and password kept.
func via(brokerURL string, p *proxy) string {
	u, err := url.Parse(brokerURL)
	if err != nil {
		panic(err)
	}
	u.Host = p.address()
	return u.String()
}

package e2e_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// broker is a Mosquitto.
type broker struct {
	*program
	addr string
}

// newBroker makes a Mosquitto with lines more in its configuration. Its persistence, where it has one, is in a folder of its own.
func newBroker(t *testing.T, name string, lines ...string) *broker {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	config := fmt.Sprintf("user root\nlistener %s 127.0.0.1\npersistence_location %s/\n%s\n", port, dir, strings.Join(lines, "\n"))
	if !strings.Contains(config, "allow_anonymous") {
		config += "allow_anonymous true\n"
	}
	file := filepath.Join(dir, "mosquitto.conf")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	return &broker{newProgram(t, dir, "broker-"+name, mosquittoBin, "-c", file), addr}
}

func (b *broker) start() {
	b.t.Helper()
	b.program.start()
	awaitListening(b.t, b.program, b.addr)
}

func (b *broker) url() string { return "mqtt://" + b.addr }

// pub runs mosquitto_pub.
func (b *broker) pub(args ...string) {
	b.t.Helper()
	out, err := exec.Command("mosquitto_pub", b.client(args)...).CombinedOutput()
	require.NoError(b.t, err, "mosquitto_pub %q: %s", args, out)
}

// sub starts mosquitto_sub and returns once it is subscribed. Its output is its messages, a line each, in the form that
// the test gives with -F; %r is the retain flag, %q the QoS, %t the topic, %p the payload.
func (b *broker) sub(args ...string) *program {
	b.t.Helper()
	args = append([]string{"-oL", "mosquitto_sub"}, b.client(append(args, "-d"))...) // its SUBACK must not wait in a buffer
	p := newProgram(b.t, b.t.TempDir(), "mosquitto_sub", "stdbuf", args...)
	p.start()
	eventually(b.t, 10*time.Second, func() error {
		if strings.Contains(p.output(), "Subscribed (mid: ") {
			return nil
		}
		return fmt.Errorf("mosquitto_sub %q has no SUBACK", args)
	})
	return p
}

// messages returns what mosquitto_sub has printed, without its own remarks.
func messages(sub *program) []string {
	var lines []string
	for line := range strings.Lines(sub.output()) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "Client "), strings.HasPrefix(line, "Subscribed (mid: "):
		default:
			lines = append(lines, line)
		}
	}
	return lines
}

func (b *broker) client(args []string) []string {
	host, port, _ := net.SplitHostPort(b.addr)
	return append([]string{"-h", host, "-p", port}, args...)
}

// natsServer is a nats-server with JetStream.
type natsServer struct {
	*program
	addr  string
	store string
}

func newNATS(t *testing.T, lines ...string) *natsServer {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	s := &natsServer{addr: addr, store: filepath.Join(dir, "store")}
	config := fmt.Sprintf("listen: %q\njetstream: {store_dir: %q}\n%s\n", addr, s.store, strings.Join(lines, "\n"))
	file := filepath.Join(dir, "nats.conf")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	s.program = newProgram(t, dir, "nats-server", natsBin, "-c", file)
	return s
}

func (s *natsServer) start() {
	s.t.Helper()
	s.program.start()
	awaitListening(s.t, s.program, s.addr)
}

func (s *natsServer) url() string { return "nats://" + s.addr }

// connect returns a connection as a stranger's or the operator's.
func (s *natsServer) connect() *nats.Conn {
	s.t.Helper()
	conn, err := nats.Connect(s.url())
	require.NoError(s.t, err)
	s.t.Cleanup(conn.Close)
	return conn
}

// published returns how many frames have ever been published on a stream.
func (s *natsServer) published(stream string) uint64 {
	s.t.Helper()
	js, err := jetstream.New(s.connect())
	require.NoError(s.t, err)
	info, err := js.Stream(s.t.Context(), stream)
	require.NoError(s.t, err)
	return info.CachedInfo().State.LastSeq
}

package nats_test

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/weft-relay/weft/transports/nats"
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

// startLogged starts a transport and returns its log.
func startLogged(t *testing.T, c nats.Config) *logBuffer {
	t.Helper()
	log := &logBuffer{}
	c.Node = "alice"
	n, err := nats.New(c, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

func TestServerThatIsNotRunningIsLoggedOnce(t *testing.T) {
	t.Parallel()
	address := net.JoinHostPort("127.0.0.1", port(freePort(t)))
	log := startLogged(t, nats.Config{URL: "nats://" + address})
	eventually(t, "the log names the address", func() bool { return strings.Contains(log.String(), "no NATS server at "+address) })
	if text := log.String(); strings.Count(text, "level=WARN") != 1 {
		t.Errorf("log: %s", text)
	}
}

// The server comes up after the node, and refuses the login: is that said although it was never connected?
func TestWrongLoginIsLoggedWhenTheServerComesUpLater(t *testing.T) {
	t.Parallel()
	server := startServer(t, func(o *natsserver.Options) { o.Username, o.Password = "weft", "other" })
	server.stop(t)
	log := startLogged(t, nats.Config{URL: "nats://" + net.JoinHostPort("127.0.0.1", port(server.opts.Port)), User: "weft", Password: "s3cret"})
	eventually(t, "refused connection in the log", func() bool { return strings.Contains(log.String(), "no NATS server at") })
	server.start(t)
	eventually(t, "refused login in the log", func() bool { return strings.Contains(log.String(), "refuses this login") })
	if strings.Contains(log.String(), "s3cret") {
		t.Error("the password is in the log")
	}
}

func TestServerThatSpeaksNoNATSIsNamed(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // an MQTT broker waits for the client to speak first
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	log := startLogged(t, nats.Config{URL: "nats://" + silent.Addr().String()})
	eventually(t, "the log says so", func() bool {
		return strings.Contains(log.String(), silent.Addr().String()+" sends no greeting: it does not speak NATS")
	})
}

func TestServerWithoutTLSIsToldFromOthers(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t)
	log := startLogged(t, nats.Config{URL: startServer(t).ClientURL(), TLS: nats.TLS{CA: cert}})
	eventually(t, "the log says so", func() bool { return strings.Contains(log.String(), "it speaks no TLS: write nats://") })
}

func TestServerThatHangsUpIsSaidToDoSo(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	log := startLogged(t, nats.Config{URL: server.ClientURL()})
	eventually(t, "alice is up", func() bool { return strings.Contains(log.String(), "nats up") })
	server.stop(t)
	eventually(t, "the log says so", func() bool { return strings.Contains(log.String(), "the server closed the connection") })
	if strings.Contains(log.String(), "detail=EOF") {
		t.Error(log.String())
	}
}

// An orderly end is no trouble with the network.
func TestCloseIsNotLoggedAsALostConnection(t *testing.T) {
	t.Parallel()
	log := &logBuffer{}
	alice, err := nats.New(nats.Config{URL: startServer(t).ClientURL(), Node: "alice"}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "alice is up", isUp(alice))
	before := len(log.String())
	if err := alice.Close(); err != nil {
		t.Fatal(err)
	}
	if after := log.String()[before:]; strings.Contains(after, "connecting") || strings.Count(after, "\n") != 1 {
		t.Errorf("log of the end: %s", after)
	}
}

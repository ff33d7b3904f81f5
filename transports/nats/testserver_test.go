package nats_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
)

// testServer is a nats-server in the test's process, apart from the transport under test.
type testServer struct {
	opts natsserver.Options
	*natsserver.Server
}

// startServer starts a server with JetStream on a free port; it ends with the test.
func startServer(t testing.TB, alter ...func(*natsserver.Options)) *testServer {
	t.Helper()
	s := &testServer{opts: natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}}
	for _, change := range alter {
		change(&s.opts)
	}
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	return s
}

// start starts the server, on the port that it had.
func (s *testServer) start(t testing.TB) {
	opts := s.opts
	server, err := natsserver.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	if !server.ReadyForConnections(10 * time.Second) {
		t.Fatal("server not ready")
	}
	s.Server = server
	s.opts.Port = opts.Port
}

func (s *testServer) stop(testing.TB) {
	s.Shutdown()
	s.WaitForShutdown()
}

// restart stops the server and starts it on the same port and store.
func (s *testServer) restart(t testing.TB) {
	s.stop(t)
	s.start(t)
}

// client returns a plain JetStream client of the server.
func (s *testServer) client(t testing.TB) jetstream.JetStream {
	t.Helper()
	nc, err := natsgo.Connect(s.ClientURL(), natsgo.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

var quietLog = slog.New(slog.NewTextHandler(io.Discard, nil))

// newNode returns a transport of the server, not started.
func newNode(t testing.TB, c nats.Config) *nats.Transport {
	t.Helper()
	n, err := nats.New(c, quietLog)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// startNode returns a started transport, which ends with the test.
func startNode(t testing.TB, c nats.Config) *nats.Transport {
	t.Helper()
	n := newNode(t, c)
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// eventually polls until the claim holds.
func eventually(t testing.TB, claim string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", claim)
		}
	}
}

func isUp(n *nats.Transport) func() bool {
	return func() bool { return n.Report().State == transports.Up }
}

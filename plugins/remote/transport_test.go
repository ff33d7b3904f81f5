package remote_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/plugins/remote"
	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/transporttest"
)

// Does a transport keep its promises when a process lies between?
func TestTransportOutOfProcessKeepsItsPromises(t *testing.T) {
	program := start(t, config("plugin"))
	_, err := program.Describe(t.Context()) // what runs then is no leak of a test
	require.NoError(t, err)
	features := transporttest.Features{Stores: true, Deduplicates: true, Restarts: true}
	transporttest.Run(t, features, func(t *testing.T) transporttest.Network {
		server := startServer(t)
		return transporttest.Network{
			Node: func(_ *testing.T, name string, follow ...string) transports.Transport {
				return newTransport(program, server.ClientURL(), name, follow...)
			},
			Stop:  func(t *testing.T) { server.stop(t) },
			Start: func(t *testing.T) { server.start(t) },
		}
	})
}

// Does a transport go on where it was when its program is killed?
func TestTransportOutlivesItsProgram(t *testing.T) {
	server := startServer(t)
	program := start(t, config("plugin"))
	alice, bob := newTransport(program, server.ClientURL(), "alice"), newTransport(program, server.ClientURL(), "bob", "alice")
	for _, one := range []transports.Transport{alice, bob} {
		require.NoError(t, one.Start(t.Context()))
		defer func() { require.NoError(t, one.Close()) }()
	}
	inbox, err := bob.(message.Subscriber).Subscribe(t.Context(), transports.Inbox)
	require.NoError(t, err)
	require.NoError(t, alice.(transports.Directory).Announce(t.Context(), []byte("profile of alice")))
	profiles, err := bob.(transports.Directory).Watch(t.Context())
	require.NoError(t, err)
	require.Equal(t, "alice", (<-profiles).Node)
	for round := range 3 {
		for i := range 5 {
			publish(t, alice, fmt.Sprintf("%d-%d", round, i))
		}
		for i := range 5 {
			frame := <-inbox
			require.Equal(t, fmt.Sprintf("%d-%d", round, i), string(frame.Payload))
			frame.Ack()
		}
		require.Eventually(t, func() bool {
			return alice.Report().State == transports.Up && alice.(transports.MaxPayloader).MaxPayload() > 0
		}, patience, 10*time.Millisecond)
		require.NoError(t, syscall.Kill(program.Status().PID, syscall.SIGKILL))
	}
	require.Eventually(t, func() bool { return alice.Report().State == transports.Up && alice.Report().Reconnects >= 1 }, patience, 10*time.Millisecond)
}

// Does a program that stands still cost its own transport only, and is it told from a slow network?
func TestTransportOfAProgramThatStandsStillIsOpenedAnew(t *testing.T) {
	server := startServer(t)
	c := config("plugin")
	c.Timeout = 5 * time.Second
	program := start(t, c)
	alice := newTransport(program, server.ClientURL(), "alice")
	require.NoError(t, alice.Start(t.Context()))
	defer func() { require.NoError(t, alice.Close()) }()
	require.Eventually(t, func() bool { return alice.Report().State == transports.Up }, patience, 10*time.Millisecond)
	require.NoError(t, syscall.Kill(program.Status().PID, syscall.SIGSTOP))
	require.Eventually(t, func() bool { return program.Status().Restarts == 1 && alice.Report().State == transports.Up }, patience, 10*time.Millisecond)
	publish(t, alice, "one")
}

func TestTransportWithoutItsProgramSaysSo(t *testing.T) {
	program := start(t, config("exits"))
	alice := newTransport(program, "nats://127.0.0.1:1", "alice")
	require.NoError(t, alice.Start(t.Context()))
	require.Eventually(t, func() bool { return program.Status().Error != "" }, patience, 10*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	frame := message.NewMessage("1", []byte("one"))
	frame.SetContext(ctx)
	err := alice.(message.Publisher).Publish(transports.Direct("bob"), frame)
	require.ErrorIs(t, err, remote.ErrUnavailable)
	const want = `plugin "lora": transport "nats": plugin unavailable: it ended with exit status 3: panic: no modem`
	require.Contains(t, err.Error(), want)
	require.Contains(t, alice.Report().Detail, want)
	require.Equal(t, transports.Connecting, alice.Report().State)
	require.NoError(t, alice.Close())
}

func newTransport(program *remote.Program, url, name string, follow ...string) transports.Transport {
	node := transports.Node{Name: name, Transport: "hub"}
	for _, peer := range follow {
		node.Peers = append(node.Peers, transports.Peer{Name: peer})
	}
	return program.Transport("nats", fmt.Appendf(nil, `{"url": %q}`, url), node)
}

// publish repeats what a lane would.
func publish(t *testing.T, from transports.Transport, payload string) {
	t.Helper()
	require.Eventually(t, func() bool {
		frame := message.NewMessage(payload, []byte(payload))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		frame.SetContext(ctx)
		err := from.(message.Publisher).Publish(transports.Direct("bob"), frame)
		return err == nil || errors.Is(err, context.Canceled)
	}, patience, 10*time.Millisecond)
}

// testServer is a nats-server in the test's process.
type testServer struct {
	opts natsserver.Options
	*natsserver.Server
}

func startServer(t *testing.T) *testServer {
	s := &testServer{opts: natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}}
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	return s
}

func (s *testServer) start(t *testing.T) {
	opts := s.opts
	server, err := natsserver.NewServer(&opts)
	require.NoError(t, err)
	server.Start()
	require.True(t, server.ReadyForConnections(patience))
	s.Server, s.opts.Port = server, opts.Port
}

func (s *testServer) stop(*testing.T) {
	s.Shutdown()
	s.WaitForShutdown()
}

package nats_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
)

// blackHole forwards connections to a server until it is told to swallow everything: nothing is closed, nothing is answered. New
// connections are forwarded.
type blackHole struct {
	listener net.Listener
	server   string
	swallow  atomic.Pointer[atomic.Bool] // shared by the connections of one generation
	running  sync.WaitGroup
}

func startBlackHole(t testing.TB, server string) *blackHole {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &blackHole{listener: l, server: server}
	h.swallow.Store(new(atomic.Bool))
	h.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.running.Go(func() { h.serve(t, conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		h.running.Wait()
	})
	return h
}

func (h *blackHole) serve(t testing.TB, conn net.Conn) {
	swallow := h.swallow.Load()
	defer conn.Close()
	far, err := net.Dial("tcp", h.server)
	if err != nil {
		return
	}
	defer far.Close()
	defer context.AfterFunc(t.Context(), func() { conn.Close(); far.Close() })()
	pump := func(to io.Writer, from io.Reader) {
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			if swallow.Load() {
				continue
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	h.running.Go(func() {
		pump(far, conn)
		far.Close()
	})
	pump(conn, far)
}

// collapse turns the connections of now into black holes.
func (h *blackHole) collapse() { h.swallow.Swap(new(atomic.Bool)).Store(true) }

func TestBlackHoledLinkHealsWithin30Seconds(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	u, err := url.Parse(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	hole := startBlackHole(t, u.Host)
	// The port must not be given away by the server, or the client would go round the hole.
	through := "nats://" + hole.listener.Addr().String()
	alice := startNode(t, nats.Config{URL: through, Node: "alice"})
	bob := startNode(t, nats.Config{URL: through, Node: "bob"})
	inbox := subscribe(t, bob, transports.Inbox)
	mustPublish(t, alice, transports.Direct("bob"), frame(1))
	expect(t, inbox, 1)
	hole.collapse()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	m := frame(2)
	m.SetContext(ctx)
	if err := alice.Publish(transports.Direct("bob"), m); err == nil {
		t.Fatal("published into a black hole")
	}
	if r := alice.Report(); r.State != transports.Stalled {
		t.Errorf("state is %s while nothing moves", r.State)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m = frame(2)
	m.SetContext(ctx)
	if err := alice.Publish(transports.Direct("bob"), m); err != nil {
		t.Fatal(err)
	}
	expect(t, inbox, 2)
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("healed after %v", took)
	}
}

// startCluster starts three servers with JetStream.
func startCluster(t testing.TB) (servers []*testServer) {
	t.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 {
		p := freePort(t)
		ports = append(ports, p)
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", port(p))})
	}
	for i, p := range ports {
		servers = append(servers, startServer(t, func(o *natsserver.Options) {
			o.ServerName, o.Cluster = fmt.Sprintf("s%d", i), natsserver.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: p}
			o.Routes = routes
		}))
	}
	return servers
}

func TestNothingIsLostWhenTheLeaderOfAClusterIsKilled(t *testing.T) {
	t.Parallel()
	servers := startCluster(t)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.ClientURL())
	}
	config := nats.Config{URL: strings.Join(urls, ","), Replicas: 3}
	alice, bob := config, config
	alice.Node, bob.Node = "alice", "bob"
	from := startNode(t, alice)
	inbox := subscribe(t, startNode(t, bob), transports.Inbox)

	const count = 400
	sent := make(chan error, 1)
	progress := make(chan int, count)
	go func() {
		var err error
		for i := 1; i <= count && t.Context().Err() == nil; i++ {
			// What was sent to the leader when it died gets no answer: each attempt has its deadline, as in a lane.
			for err = tryPublish(t, from, frame(i)); err != nil && t.Context().Err() == nil; {
				err = tryPublish(t, from, frame(i))
			}
			progress <- i
		}
		sent <- err
	}()
	killed := false
	for next := 1; next <= count; {
		m := receive(t, inbox)
		var number int
		if _, err := fmt.Sscan(string(m.Payload), &number); err != nil || number > next {
			t.Fatalf("frame %s came when %d was due", m.Payload, next)
		}
		if number == next {
			next++
		}
		m.Ack()
		if next > count/3 && !killed {
			killed = true
			leader(t, servers).stop(t)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func tryPublish(t testing.TB, from *nats.Transport, m *message.Message) error {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	m.SetContext(ctx)
	return from.Publish(transports.Direct("bob"), m)
}

// leader returns the server that leads the stream of direct frames.
func leader(t testing.TB, servers []*testServer) *testServer {
	t.Helper()
	stream, err := servers[0].client(t).Stream(t.Context(), "WEFT_DIRECT")
	if err != nil {
		t.Fatal(err)
	}
	name := stream.CachedInfo().Cluster.Leader
	for _, s := range servers {
		if s.Name() == name {
			return s
		}
	}
	t.Fatalf("no server is called %q", name)
	return nil
}

func TestNextURLIsUsedWhenTheFirstIsDown(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	dead := "nats://" + net.JoinHostPort("127.0.0.1", port(freePort(t)))
	alice := startNode(t, nats.Config{URL: dead + ", " + server.ClientURL(), Node: "alice"})
	eventually(t, "alice is up", isUp(alice))
}

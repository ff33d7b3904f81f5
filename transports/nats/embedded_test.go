package nats_test

import (
	"net"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
	"github.com/weft-relay/weft/transports/transporttest"
)

// One node's embedded server is the network; the others connect to it.
func TestEmbeddedServerCarriesTheMesh(t *testing.T) {
	features := transporttest.Features{Stores: true, Deduplicates: true, Restarts: true}
	transporttest.Run(t, features, func(t *testing.T) transporttest.Network {
		hub := nats.Config{Node: "hub", User: "mesh", Password: "s3cret"}
		hub.Embedded = nats.Embedded{Listen: "127.0.0.1:0", StoreDir: t.TempDir()}
		var serving *nats.Transport
		start := func(t *testing.T) {
			serving = newNode(t, hub)
			if err := serving.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			hub.Embedded.Listen = strings.TrimPrefix(serving.Address(), "nats://")
			eventually(t, "the hub is up", isUp(serving)) // a server that is stopped while it makes a stream leaves a goroutine behind
		}
		stop := func(t *testing.T) {
			if err := serving.Close(); err != nil {
				t.Error(err)
			}
		}
		start(t)
		url := serving.Address()
		t.Cleanup(func() { stop(t) })
		return transporttest.Network{
			Node: func(t *testing.T, name string, follow ...string) transports.Transport {
				return newNode(t, nats.Config{URL: url, User: "mesh", Password: "s3cret", Node: name, Follow: follow})
			},
			Stop: stop, Start: start,
		}
	})
}

func TestHubTakesPartItself(t *testing.T) {
	t.Parallel()
	for _, sync := range []string{"default", "always"} {
		hub := startNode(t, nats.Config{Node: "hub", Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: t.TempDir(), Sync: sync}})
		bob := startNode(t, nats.Config{URL: hub.Address(), Node: "bob"})
		atHub, atBob := subscribe(t, hub, transports.Inbox), subscribe(t, bob, transports.Inbox)
		mustPublish(t, hub, transports.Direct("bob"), frame(1))
		mustPublish(t, bob, transports.Direct("hub"), frame(2))
		expect(t, atBob, 1)
		expect(t, atHub, 2)
	}
}

func TestEmbeddedServerAsksForItsToken(t *testing.T) {
	t.Parallel()
	hub := startNode(t, nats.Config{Node: "hub", Token: "t0ken", Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: t.TempDir()}})
	eventually(t, "the hub is up", isUp(hub))
	if nc, err := natsgo.Connect(hub.Address()); err == nil {
		nc.Close()
		t.Error("a client without the token was let in")
	}
	bob := startNode(t, nats.Config{URL: hub.Address(), Token: "t0ken", Node: "bob"})
	eventually(t, "bob is up", isUp(bob))
}

func TestEmbeddedServerServesTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	hub := startNode(t, nats.Config{
		Node: "hub", TLS: nats.TLS{Cert: cert, Key: key},
		Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: t.TempDir()},
	})
	bob := startNode(t, nats.Config{URL: hub.Address(), TLS: nats.TLS{CA: cert}, Node: "bob"})
	inbox := subscribe(t, bob, transports.Inbox)
	mustPublish(t, hub, transports.Direct("bob"), frame(1))
	expect(t, inbox, 1)
}

func TestAddressInUseIsAnErrorOfStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	hub := newNode(t, nats.Config{Node: "hub", Embedded: nats.Embedded{Listen: taken.Addr().String(), StoreDir: t.TempDir()}})
	begun := time.Now()
	err = hub.Start(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "embedded.listen: ") || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("start on a taken address: %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
}

func TestUnusableStoreIsAnErrorOfStart(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "file", nil)
	hub := newNode(t, nats.Config{Node: "hub", Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: file}})
	if err := hub.Start(t.Context()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("start with a file as store_dir: %v", err)
	}
}

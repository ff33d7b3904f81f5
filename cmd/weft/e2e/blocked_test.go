package e2e_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
)

// The output is blocked, one message comes in, and the node is killed the moment it says that it has it. Does the
// message arrive once the output is free?
func TestMessageTakenBeforeABlockedOutputSurvivesAKill(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	sub := bob.broker.sub("-t", "#", "-q", "1", "-F", "%t %p")
	m.nats.kill()
	alice.broker.pub("-t", "doors/1", "-q", "1", "-m", "open")
	alice.node.await(10*time.Second, func(s pipeline.Status) error { // the publisher has its PUBACK from the broker, not from the node
		if s.Outgoing.Taken != 1 {
			return fmt.Errorf("%d messages taken", s.Outgoing.Taken)
		}
		return nil
	})
	alice.node.kill()
	alice.node.start()
	m.nats.start()
	eventuallyHas(t, sub, "doors/1 open") // twice, if the node was killed before it told its broker that it had it
}

// The same on the receiving side: the broker does not answer, and the node is killed.
func TestMessageReceivedBeforeABlockedBrokerSurvivesAKill(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	sub := bob.broker.sub("-t", "#", "-q", "2", "-F", "%t %p")
	bob.broker.signal(syscall.SIGSTOP)
	alice.broker.pub("-t", "doors/1", "-q", "2", "-m", "open")
	bob.node.await(10*time.Second, func(s pipeline.Status) error {
		if s.Incoming.Bytes == 0 {
			return fmt.Errorf("no frame was opened")
		}
		return nil
	})
	bob.node.kill()
	bob.node.start()
	bob.broker.signal(syscall.SIGCONT)
	awaitLines(t, sub, "doors/1 open")
}

// The receiving broker is blocked while tens of thousands of messages come. Does the sending broker stay as quick as it was,
// do both nodes keep their connections, memory and goroutines, and does everything arrive afterwards?
func TestBlockedBrokerHoldsUpNothingElse(t *testing.T) {
	m, alice, bob := pair(t, "max_inflight_messages 0")
	m.start()
	r := newRecord(t, bob.broker.addr, "#", 1)
	l := newLoad(t, alice.broker.addr, "q1", 1)
	l.window, l.pad = 1000, strings.Repeat("x", 200)
	require.NoError(t, l.publish(t.Context(), 1000))
	r.awaitAll(t, l, 20*time.Second)
	before := usageOf(t, bob.node)

	bob.broker.signal(syscall.SIGSTOP)
	blocked := time.Now()
	require.NoError(t, l.publish(t.Context(), 40_000), "acknowledged at the sending site while the receiving one takes nothing")
	// Longer than a keepalive: the node must notice, and go on by itself.
	bob.node.await(60*time.Second, func(s pipeline.Status) error {
		if s.Broker.State == "up" {
			return fmt.Errorf("bob says that its broker is up")
		}
		return nil
	})
	during := usageOf(t, bob.node)
	require.Less(t, during.goroutines, before.goroutines+20)
	require.Less(t, during.rss, before.rss+64<<20, "bytes of memory")
	require.Less(t, usageOf(t, alice.node).rss, int64(128<<20), "bytes of memory")
	s, err := alice.node.status()
	require.NoError(t, err)
	require.Zero(t, s.Broker.Reconnects, "alice's broker")
	require.Zero(t, s.Transports["hub"].Reconnects, "alice's network")
	bob.broker.signal(syscall.SIGCONT)
	r.awaitAll(t, l, 60*time.Second)
	r.requireOrder(t)
	t.Logf("blocked for %v; %d of %d messages came again", time.Since(blocked).Round(time.Second), r.repeats(), l.total())
}

// usage is what a node takes of the machine.
type usage struct {
	goroutines int
	rss        int64 // bytes
}

var goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

func usageOf(t *testing.T, n *node) usage {
	t.Helper()
	_, page, err := n.get("/metrics")
	require.NoError(t, err)
	found := goroutines.FindStringSubmatch(page)
	require.NotNil(t, found, "no go_goroutines among the metrics")
	count, err := strconv.Atoi(found[1])
	require.NoError(t, err)
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", n.cmd.Process.Pid))
	require.NoError(t, err)
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	require.NoError(t, err)
	return usage{count, pages * int64(os.Getpagesize())}
}

// A peer is absent, and the network keeps no more for it, so that its lane waits. Has it no part in what the others get, and does it get
// everything when it is back?
func TestAbsentPeerHoldsUpNobody(t *testing.T) {
	m := newMesh(t, []string{"alice", "bob", "carol"})
	alice, bob, carol := m.sites[0], m.sites[1], m.sites[2]
	for _, s := range m.sites {
		s.node.config["transports"].(object)["hub"].(object)["limits"] = object{"frames": 1}
	}
	m.start()
	atBob, atCarol := newRecord(t, bob.broker.addr, "#", 1), newRecord(t, carol.broker.addr, "#", 1)
	carol.node.kill()
	l := newLoad(t, alice.broker.addr, "q1", 1)
	require.NoError(t, l.publish(t.Context(), 5000))
	atBob.awaitAll(t, l, 60*time.Second)
	require.Equal(t, 5000, atBob.arrivals())
	s, err := alice.node.status()
	require.NoError(t, err)
	waiting := lane(t, s, "all/carol")
	require.Equal(t, "waiting", waiting.State, "%+v", waiting)
	require.Positive(t, waiting.Depth)
	carol.node.start()
	atCarol.awaitAll(t, l, 60*time.Second)
}

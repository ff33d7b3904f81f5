package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
)

// Nodes are told to stop under load, again and again. Do they end with status 0, and is nothing lost?
func TestStoppedNodesLoseNothing(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	r := newRecord(t, bob.broker.addr, "#", 1)
	l := newLoad(t, alice.broker.addr, "q1", 1)
	l.pace = time.Millisecond
	stop := l.start(t)
	for range 5 {
		for _, s := range m.sites {
			r.awaitMore(t, 50, 20*time.Second)
			require.Equal(t, 0, s.node.stop())
			s.node.start()
		}
	}
	stop()
	r.awaitAll(t, l, 30*time.Second)
	r.requireOrder(t)
	for _, s := range m.sites {
		require.NotContains(t, s.node.output(), "level=ERROR")
	}
}

// QoS 0 messages are in the node's memory alone. Does a node that is told to stop while the network hangs for a moment still
// send them?
func TestStoppedNodeDrainsWhatIsInMemoryOnly(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	r := newRecord(t, bob.broker.addr, "#", 1)
	m.nats.signal(syscall.SIGSTOP)
	l := newLoad(t, alice.broker.addr, "q0", 0)
	require.NoError(t, l.publish(t.Context(), 500))
	alice.node.await(10*time.Second, func(s pipeline.Status) error {
		if s.Outgoing.Taken != 500 {
			return fmt.Errorf("%d of 500 messages were taken", s.Outgoing.Taken)
		}
		return nil
	})
	alice.node.signal(syscall.SIGTERM)
	m.nats.signal(syscall.SIGCONT)
	require.Equal(t, 0, alice.node.exit(30*time.Second))
	r.awaitAll(t, l, 10*time.Second)
	r.requireOnce(t)
}

// Ctrl-C does the same.
func TestInterruptStopsTheNode(t *testing.T) {
	m, alice, _ := pair(t)
	m.start()
	alice.node.signal(syscall.SIGINT)
	require.Equal(t, 0, alice.node.exit(30*time.Second))
	require.NotContains(t, alice.node.output(), "level=ERROR")
}

// Everything that a node needs is away: it stops all the same, and soon.
func TestNodeStopsWhileNothingIsReachable(t *testing.T) {
	t.Parallel() // it waits
	m, alice, _ := pair(t)
	m.start()
	m.nats.kill()
	alice.broker.pub("-t", "doors/1", "-q", "1", "-m", "open")
	alice.broker.kill()
	before := time.Now()
	require.Equal(t, 0, alice.node.stop())
	require.Less(t, time.Since(before), 30*time.Second)
}

func TestPortInUseIsAClearError(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	alice.node.kill()
	alice.node.config["admin"] = object{"listen": bob.node.admin}
	alice.node.write()
	alice.node.program.start()
	require.Equal(t, 1, alice.node.exit(20*time.Second))
	require.Contains(t, alice.node.output(), "admin.listen: listen tcp "+bob.node.admin+": bind: address already in use; name an address")
}

// A collector of logs reads what the node prints, from its start to its end. Is each line an object with time, level and message?
func TestLogIsJSONWhereAsked(t *testing.T) {
	m, alice, _ := pair(t)
	alice.node.args = append(alice.node.args, "--log-format", "json")
	m.start()
	m.nats.stop() // something to warn of
	alice.node.await(10*time.Second, func(s pipeline.Status) error {
		if len(s.Problems) == 0 {
			return errors.New("no problem is seen")
		}
		return nil
	})
	require.Equal(t, 0, alice.node.stop())
	levels := map[string]int{}
	for line := range strings.Lines(alice.node.output()) {
		var entry struct {
			Time       time.Time
			Level, Msg string
		}
		require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
		require.NotZero(t, entry.Time, line)
		require.NotEmpty(t, entry.Msg, line)
		levels[entry.Level]++
	}
	require.NotZero(t, levels["INFO"])
	require.NotZero(t, levels["WARN"])
}

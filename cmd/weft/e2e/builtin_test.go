package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/transports"
)

// builtIn gives the site the built-in broker in the place of Mosquitto, and returns its address.
func builtIn(t *testing.T, s *site, users ...any) string {
	t.Helper()
	addr := freeAddr(t)
	s.broker = nil
	s.node.config["broker"] = object{"embedded": object{"listen": addr, "users": users}}
	return addr
}

// A node is killed together with its built-in broker, under load. Does everything that the broker has acknowledged reach its own
// subscribers and the peer's?
func TestNothingIsLostWhenANodeIsKilledWithItsBroker(t *testing.T) {
	t.Parallel()
	m, alice, bob := pair(t)
	addr := builtIn(t, alice)
	alice.node.config["subscribe"] = list{}
	bob.node.config["routes"] = list{}
	m.start()
	here, there := newRecord(t, addr, "q1/#", 1), newRecord(t, bob.broker.addr, "q1/#", 1)
	l := newLoad(t, addr, "q1", 1)
	l.pace, l.stubborn = 4*time.Millisecond, true
	stop := l.start(t)
	for range rounds(t) {
		there.awaitMore(t, 20, 60*time.Second)
		time.Sleep(rand.N(300 * time.Millisecond)) // the random moment
		alice.node.kill()
		alice.node.start()
	}
	stop()
	here.awaitAll(t, l, 60*time.Second)
	there.awaitAll(t, l, 60*time.Second)
	t.Logf("%d messages, %d and %d of them again", l.total(), here.repeats(), there.repeats())
}

// The disk is full for the built-in broker. Does the node say so, and does everything arrive when there is room again?
func TestFullDiskOfTheBuiltInBrokerLosesNothing(t *testing.T) {
	m, alice, bob := pair(t)
	addr := builtIn(t, alice)
	m.start()
	r := newRecord(t, bob.broker.addr, "q1/#", 1)
	newRecord(t, addr, "q1/#", 1) // so that the broker has something to keep
	l := newLoad(t, addr, "q1", 1)
	l.stubborn = true
	require.NoError(t, l.publish(t.Context(), 100))
	r.awaitAll(t, l, 20*time.Second)
	limit(t, alice.node, 4<<10) // of every file: the journal too
	stop := l.start(t)
	alice.node.await(30*time.Second, func(s pipeline.Status) error {
		if s.Broker.State != transports.Stalled || !strings.Contains(strings.Join(s.Problems, "\n"), "make room on that disk") {
			return fmt.Errorf("broker %+v, problems %q", s.Broker, s.Problems)
		}
		return nil
	})
	limit(t, alice.node, unix.RLIM_INFINITY)
	alice.node.awaitReady()
	stop()
	r.awaitAll(t, l, 60*time.Second)
}

// Users and their rights at the built-in broker, with the clients that people have: does each get what it may and no more, do
// status and metrics count what was dropped, and does all of it hold after kill -9?
func TestUsersOfTheBuiltInBrokerKeepToTheirRights(t *testing.T) {
	m, alice, _ := pair(t)
	addr := builtIn(
		t, alice,
		object{"name": "sensor", "password": "s", "read": list{}, "write": list{"doors/#"}},
		object{"name": "panel", "password": "p", "read": list{"doors/#"}, "write": list{}},
	)
	m.start()
	b := &broker{addr: addr}
	client := func(program, user, password string, args ...string) (string, error) {
		out, err := exec.Command(program, b.client(append(args, "-u", user, "-P", password))...).CombinedOutput()
		return string(out), err
	}
	check := func(version string, kept int) {
		for _, topic := range []string{"doors/1", "secret"} {
			out, err := client("mosquitto_pub", "sensor", "s", "-V", version, "-t", topic, "-m", version, "-q", "1", "-r")
			if version == "5" && topic == "secret" {
				require.Contains(t, out, "Not authorized")
				continue
			}
			require.NoError(t, err, out)
		}
		out, err := client("mosquitto_sub", "panel", "p", "-V", version, "-t", "#", "-v", "-W", "1")
		require.Error(t, err, "it ends with the time")
		require.Equal(t, "doors/1 "+version, strings.TrimSpace(strings.Split(out, "Timed out")[0]))
		out, _ = client("mosquitto_sub", "sensor", "s", "-V", version, "-t", "#", "-W", "2")
		require.Contains(t, out, "All subscription requests were denied")
		_, err = client("mosquitto_pub", "sensor", "wrong", "-V", version, "-t", "doors/1", "-m", "x", "-q", "1")
		require.Error(t, err)
		_, page, err := alice.node.get("/metrics")
		require.NoError(t, err)
		require.Contains(t, page, fmt.Sprintf(`weft_dropped_messages_total{part="broker",reason="not_authorized"} %d`, kept))
	}
	check("311", 1)
	check("5", 2)
	out, err := exec.Command(weftBin, "status", "-c", alice.node.file).CombinedOutput()
	require.NoError(t, err, "weft status: %s", out)
	require.Contains(t, string(out), "2 not_authorized")
	alice.node.kill()
	alice.node.start()
	alice.node.awaitReady()
	check("311", 1)
	require.Contains(t, alice.node.output(), "user=sensor topic=secret")
}

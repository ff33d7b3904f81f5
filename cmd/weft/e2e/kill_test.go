package e2e_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rounds returns how often a test kills.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("WEFT_SOAK_ROUNDS")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, "WEFT_SOAK_ROUNDS")
	return n
}

// siege is two sites under load from one to the other, at QoS 1 and at QoS 2.
type siege struct {
	*mesh
	alice, bob *site
	once       *record // what comes at QoS 2
	atLeast    *record // what comes at QoS 1
}

// besiege kills something, under load, as often as rounds says: each time at a random moment after messages have come
// again. Then nothing that was acknowledged may be missing or out of order at QoS 1 and 2, and nothing doubled at QoS 2.
func besiege(t *testing.T, kill func(s *siege)) {
	t.Helper()
	t.Parallel() // much of a round is waiting
	m, _, _ := pair(t)
	m.besiege(kill)
}

// besiege besieges a mesh of two.
func (m *mesh) besiege(kill func(s *siege)) { m.besiegeTimes(rounds(m.t), kill) }

// besiegeTimes is besiege with another number of rounds.
func (m *mesh) besiegeTimes(times int, kill func(s *siege)) {
	t, alice, bob := m.t, m.sites[0], m.sites[1]
	t.Helper()
	alice.node.config["subscribe"] = list{}
	bob.node.config["routes"] = list{}
	m.start()
	if m.nats == nil {
		bob.node.awaitFollowing(alice.name)
	}
	s := &siege{mesh: m, alice: alice, bob: bob}
	s.once, s.atLeast = newRecord(t, bob.broker.addr, "q2/#", 2), newRecord(t, bob.broker.addr, "q1/#", 1)
	q1, q2 := newLoad(t, alice.broker.addr, "q1", 1), newLoad(t, alice.broker.addr, "q2", 2)
	q1.pace, q2.pace = 4*time.Millisecond, 4*time.Millisecond
	stop1, stop2 := q1.start(t), q2.start(t)
	for range times {
		s.once.awaitMore(t, 20, 60*time.Second)
		time.Sleep(rand.N(500 * time.Millisecond)) // the random moment
		kill(s)
	}
	stop1()
	stop2()
	s.atLeast.awaitAll(t, q1, 60*time.Second)
	s.once.awaitAll(t, q2, 60*time.Second)
	s.atLeast.requireOrder(t)
	s.once.requireOrder(t)
	s.once.requireOnce(t)
	t.Logf("%d messages, at QoS 1 %d of them again", q1.total()+q2.total(), s.atLeast.repeats())
}

func TestNothingIsLostOrDoubledWhenTheSendingNodeIsKilled(t *testing.T) {
	besiege(t, func(s *siege) {
		s.alice.node.kill()
		s.alice.node.start()
	})
}

func TestNothingIsLostOrDoubledWhenTheReceivingNodeIsKilled(t *testing.T) {
	besiege(t, func(s *siege) {
		s.bob.node.kill()
		s.bob.node.start()
	})
}

func TestNothingIsLostOrDoubledWhenTheNATSServerIsKilled(t *testing.T) {
	besiege(t, func(s *siege) {
		s.nats.kill()
		s.nats.start()
	})
}

// markers is more than the messages that bob's node may have in flight to its broker.
const markers = 100

// Mosquitto keeps what it has acknowledged in memory alone, and loses it with its process, whoever the client was. So that
// what is lost can only be the relay's fault, the relay is frozen at the random moment, and the broker hands out what it
// has before it is killed. QoS 2 is not promised here: the broker forgets which packets it has seen.
func TestNothingIsLostWhenTheReceivingBrokerIsKilled(t *testing.T) {
	t.Parallel()
	m, alice, bob := pair(t)
	alice.node.config["subscribe"] = list{}
	bob.node.config["routes"] = list{}
	bob.node.config["broker"] = object{"url": bob.broker.url(), "max_inflight": markers / 2, "reconnect_max": "1s"}
	m.start()
	r := newRecord(t, bob.broker.addr, "#", 1)
	l, marker := newLoad(t, alice.broker.addr, "q1", 1), newLoad(t, bob.broker.addr, "marker", 1)
	l.pace, marker.topics, marker.window = 4*time.Millisecond, 1, 1
	stop := l.start(t)
	for round := range rounds(t) {
		r.awaitMore(t, 20, 60*time.Second)
		time.Sleep(rand.N(300 * time.Millisecond)) // the random moment
		bob.node.signal(syscall.SIGSTOP)
		// Mosquitto reads one packet of each connection in turn. When so many markers have gone through it one by one,
		// nothing is left unread of what the relay has sent.
		for range markers {
			require.NoError(t, marker.publish(t.Context(), 1))
		}
		r.awaitAll(t, marker, 20*time.Second)
		bob.broker.kill()
		bob.broker.start()
		r.awaitSubscribed(t, round+2)
		bob.node.signal(syscall.SIGCONT)
	}
	stop()
	r.awaitAll(t, l, 60*time.Second)
	r.requireOrder(t)
	t.Logf("%d messages, %d of them again", l.total(), r.repeats())
}

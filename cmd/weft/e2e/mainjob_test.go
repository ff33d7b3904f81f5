package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// awaitLines waits until mosquitto_sub has printed exactly these lines, in this order.
func awaitLines(t *testing.T, sub *program, want ...string) {
	t.Helper()
	eventually(t, 15*time.Second, func() error {
		if have := messages(sub); !slices.Equal(have, want) {
			return fmt.Errorf("%q, not %q", have, want)
		}
		return nil
	})
}

// eventuallyHas waits until mosquitto_sub has printed the line among others.
func eventuallyHas(t *testing.T, sub *program, line string) {
	t.Helper()
	eventually(t, 45*time.Second, func() error {
		if have := messages(sub); !slices.Contains(have, line) {
			return fmt.Errorf("%q without %q", have, line)
		}
		return nil
	})
}

// Does a message cross from mosquitto_pub on one site to mosquitto_sub on the other, at each QoS, both ways?
func TestMessagesCrossAtEachQoSBothWays(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	for _, way := range []struct{ from, to *site }{{alice, bob}, {bob, alice}} {
		sub := way.to.broker.sub("-t", "doors/#", "-q", "2", "-F", "%t %q %r %p")
		topic := "doors/" + way.from.name
		var want []string
		for _, qos := range []string{"0", "1", "2"} {
			way.from.broker.pub("-t", topic, "-q", qos, "-m", "at "+qos)
			want = append(want, fmt.Sprintf("%s %s 0 at %s", topic, qos, qos))
		}
		awaitLines(t, sub, want...)
	}
}

// Does the receiving site decide what it gets: topic prefix, highest QoS, and which peer it asks?
func TestReceivingSiteRemapsAndCapsQoS(t *testing.T) {
	m, alice, bob := pair(t)
	bob.node.config["subscribe"] = list{object{"filter": "earrings/+", "from": list{"alice"}, "add_prefix": "from-alice/", "max_qos": 1}}
	m.start()
	sub := bob.broker.sub("-t", "#", "-q", "2", "-F", "%t %q %p")
	alice.broker.pub("-t", "earrings/left/pearl", "-q", "2", "-m", "a level too many")
	alice.broker.pub("-t", "earrings/left", "-q", "2", "-m", "gold")
	awaitLines(t, sub, "from-alice/earrings/left 1 gold")
}

// Is the retain flag carried, so that a subscriber who comes later gets the last value, and one who was there gets it as news?
func TestRetainFlagIsCarried(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	before := bob.broker.sub("-t", "state/#", "-F", "%t %r %p")
	alice.broker.pub("-t", "state/door", "-r", "-m", "open")
	alice.broker.pub("-t", "state/bell", "-m", "rings")
	awaitLines(t, before, "state/door 0 open", "state/bell 0 rings")
	after := bob.broker.sub("-t", "state/#", "-F", "%t %r %p")
	awaitLines(t, after, "state/door 1 open")
}

// Does a broadcast go out once, and reach every node that follows?
func TestBroadcastReachesEveryFollower(t *testing.T) {
	m := newMesh(t, []string{"alice", "bob", "carol"})
	alice := m.sites[0]
	alice.node.config["routes"] = list{object{"name": "alarms", "match": list{"alarms/#"}, "to": "hub", "mode": "broadcast", "qos": 2}}
	m.start()
	m.awaitFollower("bob")
	m.awaitFollower("carol")
	subs := []*program{
		m.sites[1].broker.sub("-t", "#", "-q", "2", "-F", "%t %q %p"),
		m.sites[2].broker.sub("-t", "#", "-q", "2", "-F", "%t %q %p"),
	}
	alice.broker.pub("-t", "alarms/fire", "-q", "2", "-m", "run")
	for _, sub := range subs {
		awaitLines(t, sub, "alarms/fire 2 run")
	}
	alice.node.awaitEmpty(5 * time.Second)
	s, err := alice.node.status()
	require.NoError(t, err)
	require.EqualValues(t, 1, lane(t, s, "alarms/*").Frames, "frames for one broadcast message to two followers")
}

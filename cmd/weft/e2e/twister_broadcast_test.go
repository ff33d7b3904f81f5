package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// broadcasts has a site post what it publishes under a filter, for all who follow its user.
func broadcasts(s *site, filter string) {
	s.node.config["routes"] = list{object{
		"name": "all", "match": list{filter}, "to": "bird", "mode": "broadcast", "qos": 2, "batch": object{"period": "1500ms"},
	}}
}

// awaitFollowing waits until the sites read the posts of a peer: they take what he posts from then on.
func awaitFollowing(t *testing.T, user string, sites ...*site) {
	t.Helper()
	for _, s := range sites {
		eventually(t, 3*time.Minute, func() error {
			for line := range strings.Lines(s.node.output()) {
				if strings.Contains(line, "public posts of a peer are read from now on") && strings.Contains(line, user) {
					return nil
				}
			}
			return fmt.Errorf("%s does not read %s's posts yet", s.name, user)
		})
	}
}

// A site posts for all who follow it. One follower is away for a while, the nodes of the sender and of the other follower are killed, and
// where the network is simulated the other's daemon is cut off: then posts come late, and behind later ones. Does everybody have everything, in order, and at QoS 2 once?
func TestFollowersHaveEveryBroadcastOverTwister(t *testing.T) {
	t.Parallel()
	speed := twistertest.WarmSpeed()
	speed.Delay = 400 * time.Millisecond
	net := newTwister(t, threeBoxes, twistertest.Options{Speed: speed})
	sites := net.sites("alice", "bob", "carol")
	alice, bob, carol := sites[0], sites[1], sites[2]
	broadcasts(alice, net.topic("#"))
	for _, s := range []*site{bob, carol} {
		s.node.config["subscribe"], s.node.config["routes"] = list{net.topic("#")}, list{}
	}
	net.start(sites...)
	awaitFollowing(t, net.users["alice"].name, bob, carol)
	q1, q2 := newLoad(t, alice.broker.addr, net.topic("q1"), 1), newLoad(t, alice.broker.addr, net.topic("q2"), 2)
	q1.pace, q2.pace = 10*time.Millisecond, 10*time.Millisecond
	once, atLeast := map[*site]*record{}, map[*site]*record{}
	for _, s := range []*site{bob, carol} {
		once[s], atLeast[s] = newRecord(t, s.broker.addr, net.topic("q2/#"), 2), newRecord(t, s.broker.addr, net.topic("q1/#"), 1)
	}
	stop1, stop2 := q1.start(t), q2.start(t)
	once[carol].awaitMore(t, 5, 120*time.Second)
	carol.node.kill()
	for _, victim := range []*site{bob, alice, bob} {
		once[bob].awaitMore(t, 5, 120*time.Second)
		time.Sleep(rand.N(300 * time.Millisecond)) // the random moment
		victim.node.kill()
		victim.node.start()
	}
	once[bob].awaitMore(t, 5, 120*time.Second)
	if net.sim != nil {
		net.cutOff("bob", "alice", 4)
	}
	missed := once[carol].arrivals()
	carol.node.start()
	once[carol].awaitMore(t, 5, 120*time.Second)
	stop1()
	stop2()
	for _, s := range []*site{bob, carol} {
		atLeast[s].awaitAll(t, q1, 180*time.Second)
		once[s].awaitAll(t, q2, 180*time.Second)
		atLeast[s].requireOrder(t)
		once[s].requireOrder(t)
		once[s].requireOnce(t)
	}
	t.Logf("%d messages; carol had %d of the %d at QoS 2 before she was back", q1.total()+q2.total(), missed, q2.total())
}

// cutOff keeps a site's simulated daemon from all others until another site's user has posted so many times.
func (n *twisterNet) cutOff(site, poster string, posts int) {
	n.t.Helper()
	world, err := n.sim.Daemon("world")
	require.NoError(n.t, err)
	others := []*twistertest.Daemon{world}
	for name, d := range n.daemons {
		if name != site {
			others = append(others, d)
		}
	}
	for _, other := range others {
		n.sim.Partition(n.daemons[site], other)
	}
	user := n.users[poster]
	until := user.nextK(n.t) + posts
	eventually(n.t, time.Minute, func() error {
		if next := user.nextK(n.t); next < until {
			return fmt.Errorf("%s has posted %d times, not %d", poster, next, until)
		}
		return nil
	})
	for _, other := range others {
		n.sim.Heal(n.daemons[site], other)
	}
}

// A broadcast that people can read: is its post the text that they see, and does it arrive as it was?
func TestReadableBroadcastIsTextOverTwister(t *testing.T) {
	net := newTwister(t, twoBoxes, twistertest.Options{})
	sites := net.sites("alice", "bob")
	alice, bob := sites[0], sites[1]
	broadcasts(alice, net.topic("#"))
	bird(alice)["readable"] = true
	bob.node.config["subscribe"], bob.node.config["routes"] = list{net.topic("#")}, list{}
	net.start(sites...)
	awaitFollowing(t, net.users["alice"].name, bob)
	sub := bob.broker.sub("-t", net.topic("#"), "-q", "2", "-F", "%t %q %p")
	alice.broker.pub("-t", net.topic("fridges/2/temperature"), "-m", "4.5 °C", "-q", "1")
	awaitLines(t, sub, net.topic("fridges/2/temperature")+" 1 4.5 °C")
	require.Contains(t, net.public(t, "alice"), net.topic("fridges/2/temperature")+": 4.5 °C [mqtt q1]")
}

// Followers see more than what a peer's node posts: its owner's talk, strangers whom they follow by hand, and what daemons promote
// that nobody has signed. Is nothing of it published?
func TestOnlyMessagesOfPeersAreTakenFromTwister(t *testing.T) {
	const forged = "alarms/1: %s [mqtt]"
	promoted := fmt.Sprintf(forged, "promoted")
	net := newSimulatedTwister(t, twoBoxes, twistertest.Options{Promoted: promoted}, "a stranger posts, and daemons promote a message")
	sites := net.sites("alice", "bob")
	alice, bob := sites[0], sites[1]
	broadcasts(alice, "#")
	bob.node.config["subscribe"], bob.node.config["routes"] = list{"#"}, list{}
	net.start(sites...)
	awaitFollowing(t, "mqtt_alice", bob)
	sub := bob.broker.sub("-t", "#", "-F", "%t %p")
	alice.broker.pub("-t", "alarms/1", "-m", "first", "-q", "1")
	awaitLines(t, sub, "alarms/1 first")

	require.NoError(t, net.daemons["bob"].Register("mallory"))
	net.sim.Mine(2)
	require.NoError(t, net.daemons["bob"].Follow("mqtt_bob", "mallory"))
	require.NoError(t, net.daemons["bob"].Follow("mallory", "mallory"))
	mallory := newTwisterUser(t, "mallory", net.users["bob"].url)
	_, err := mallory.PublicPost(t.Context(), "mallory", 0, fmt.Sprintf(forged, "stranger"))
	require.NoError(t, err)
	_, err = mallory.DirectMessage(t.Context(), "mallory", 1, "mqtt_bob", `{"topic": "alarms/1", "payload": "ZW1wdHk=", "qos": 0}`)
	require.NoError(t, err)
	alice.node.awaitEmpty(20 * time.Second)
	alice.node.stop() // one at a time posts as a user
	owner := net.users["alice"]
	_, err = owner.PublicPost(t.Context(), owner.name, owner.nextK(t), "alarms/1: not a message")
	require.NoError(t, err)
	alice.node.start()
	alice.broker.pub("-t", "alarms/1", "-m", "last", "-q", "1")
	awaitLines(t, sub, "alarms/1 first", "alarms/1 last")
	require.NotContains(t, strings.Join(messages(sub), "\n"), "promoted")
}

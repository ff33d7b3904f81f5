package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// flock is a simulated Twister network, on whose daemons users are registered with posts to spend.
func flock(t *testing.T, users map[string]string) (*twistertest.Network, map[string]*twistertest.Daemon) {
	t.Helper()
	network, err := twistertest.New(twistertest.Options{})
	require.NoError(t, err)
	t.Cleanup(network.Close)
	_, err = network.Daemon("world") // a daemon that is alone finds nothing in the DHT, not even what it has put there
	require.NoError(t, err)
	daemons := map[string]*twistertest.Daemon{}
	for user, name := range users {
		d, err := network.Daemon(name)
		require.NoError(t, err)
		require.NoError(t, d.Register(user))
		daemons[user] = d
	}
	network.Mine(50_000)
	return network, daemons
}

// onTwister gives a site of a mesh no key and Twister alone, quick enough for a test.
func onTwister(s *site, user string, d *twistertest.Daemon, peer, peerUser string) {
	s.node.config["peers"] = list{object{"name": peer, "at": object{"bird": peerUser}}}
	s.node.config["transports"] = object{"bird": object{
		"type": "twister", "url": d.URL(), "user": user, "poll": "50ms", "profile_poll": "200ms", "receipt_delay": "50ms", "resend_after": "2s",
	}}
	s.node.config["routes"] = list{object{"name": "all", "match": list{"#"}, "to": "bird", "qos": 2}}
}

func twisterPair(t *testing.T, at map[string]string) (alice, bob *site, network *twistertest.Network, daemons map[string]*twistertest.Daemon) {
	t.Helper()
	network, daemons = flock(t, at)
	m := newMesh(t, []string{"alice", "bob"})
	alice, bob = m.sites[0], m.sites[1]
	onTwister(alice, "mqtt_alice", daemons["mqtt_alice"], "bob", "mqtt_bob")
	onTwister(bob, "mqtt_bob", daemons["mqtt_bob"], "alice", "mqtt_alice")
	alice.node.config["subscribe"] = list{"fridges/#", "earrings/#"}
	bob.node.config["subscribe"] = list{"doors/#"}
	return alice, bob, network, daemons
}

var (
	twoBoxes = map[string]string{"mqtt_alice": "a", "mqtt_bob": "b"}
	oneBox   = map[string]string{"mqtt_alice": "a", "mqtt_bob": "a"}
)

// The scenario that Weft began with: doors go from alice to bob alone, as a direct message, fridges come back. With a daemon for each
// site, and with both users in the wallet of one; no peer has a key.
func TestDoorsAndFridgesCrossOverTwister(t *testing.T) {
	for name, at := range map[string]map[string]string{"two boxes": twoBoxes, "one box": oneBox} {
		t.Run(name, func(t *testing.T) {
			alice, bob, _, daemons := twisterPair(t, at)
			for _, s := range []*site{alice, bob} {
				s.broker.start()
				s.node.start()
			}
			alice.node.awaitWishes("bob", "doors/#")
			bob.node.awaitWishes("alice", "earrings/#", "fridges/#")
			atBob, atAlice := bob.broker.sub("-t", "doors/#", "-F", "%t %p"), alice.broker.sub("-t", "fridges/#", "-F", "%t %p")
			alice.broker.pub("-t", "doors/1", "-m", "empty", "-q", "2")
			awaitLines(t, atBob, "doors/1 empty")
			bob.broker.pub("-t", "fridges/2", "-m", "full", "-q", "1")
			awaitLines(t, atAlice, "fridges/2 full")
			alice.node.awaitEmpty(20 * time.Second)
			bob.node.awaitEmpty(20 * time.Second)
			s, err := alice.node.status()
			require.NoError(t, err)
			require.Positive(t, s.Transports["bird"].Posts.Used)

			client, err := rpc.New(rpc.Config{URL: daemons["mqtt_alice"].URL()})
			require.NoError(t, err)
			public, err := client.Posts(t.Context(), 100, rpc.PlainPosts, 0, rpc.Range{User: "mqtt_alice"})
			require.NoError(t, err)
			require.Empty(t, public, "what is for bob alone is not posted for all")
		})
	}
}

// Nodes and daemons are killed at random moments under load. Is nothing lost or out of order at QoS 1 and 2, and nothing doubled at QoS 2?
func TestNothingIsLostOrDoubledOverTwister(t *testing.T) {
	t.Parallel()
	alice, bob, _, daemons := twisterPair(t, twoBoxes)
	alice.node.config["subscribe"], bob.node.config["subscribe"] = list{}, list{"#"}
	bob.node.config["routes"] = list{}
	for _, s := range []*site{alice, bob} {
		s.broker.start()
		s.node.start()
	}
	alice.node.awaitWishes("bob", "#")
	once, atLeast := newRecord(t, bob.broker.addr, "q2/#", 2), newRecord(t, bob.broker.addr, "q1/#", 1)
	q1, q2 := newLoad(t, alice.broker.addr, "q1", 1), newLoad(t, alice.broker.addr, "q2", 2)
	q1.pace, q2.pace = 10*time.Millisecond, 10*time.Millisecond
	stop1, stop2 := q1.start(t), q2.start(t)
	kills := []func(){
		func() { alice.node.kill(); alice.node.start() },
		func() { bob.node.kill(); bob.node.start() },
		func() { daemons["mqtt_alice"].Kill(); require.NoError(t, daemons["mqtt_alice"].Start()) },
		func() { daemons["mqtt_bob"].Kill(); require.NoError(t, daemons["mqtt_bob"].Start()) },
	}
	for round := range rounds(t) / 2 {
		once.awaitMore(t, 5, 120*time.Second)
		time.Sleep(rand.N(300 * time.Millisecond)) // the random moment
		kills[round%len(kills)]()
	}
	stop1()
	stop2()
	atLeast.awaitAll(t, q1, 120*time.Second)
	once.awaitAll(t, q2, 120*time.Second)
	atLeast.requireOrder(t)
	once.requireOrder(t)
	once.requireOnce(t)
	t.Logf("%d messages, at QoS 1 %d of them again", q1.total()+q2.total(), atLeast.repeats())
}

// The other site runs the Python bridge that Weft began as: its filters stand in its user's profile, it posts one message a direct
// message, in JSON, and reads the same. Do messages cross both ways?
func TestSeedsBridgeIsUnderstoodBothWays(t *testing.T) {
	alice, _, _, daemons := twisterPair(t, twoBoxes)
	alice.node.config["transports"].(object)["bird"].(object)["format"] = "seed"
	bob, err := rpc.New(rpc.Config{URL: daemons["mqtt_bob"].URL()})
	require.NoError(t, err)
	require.NoError(t, bob.Follow(t.Context(), "mqtt_bob", "mqtt_bob", "mqtt_alice"))
	require.NoError(t, bob.DHTPut(t.Context(), "mqtt_bob", "profile", rpc.Single, map[string]any{"mqtt_topics": []any{"doors/#"}}, "mqtt_bob", 1))
	alice.broker.start()
	alice.node.start()
	alice.node.awaitWishes("bob", "doors/#")
	atAlice := alice.broker.sub("-t", "fridges/#", "-F", "%t %p")
	alice.broker.pub("-t", "doors/1", "-m", "empty")
	eventually(t, 20*time.Second, func() error {
		lists, err := bob.DirectMessages(t.Context(), "mqtt_bob", 10, rpc.Range{User: "mqtt_alice"})
		if err != nil || len(lists["mqtt_alice"]) == 0 {
			return fmt.Errorf("bob has no message: %w", err)
		}
		var got struct {
			Topic   string
			Payload []byte
			QoS     int
		}
		require.NoError(t, json.Unmarshal([]byte(lists["mqtt_alice"][0].Text), &got))
		require.Equal(t, "doors/1 empty 0", fmt.Sprint(got.Topic, " ", string(got.Payload), " ", got.QoS))
		return nil
	})
	_, err = bob.DirectMessage(t.Context(), "mqtt_bob", 0, "mqtt_alice", `{"topic": "fridges/1", "qos": 0, "payload": "ZnVsbA=="}`)
	require.NoError(t, err)
	awaitLines(t, atAlice, "fridges/1 full")
}

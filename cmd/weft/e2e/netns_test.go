package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
)

// trio is three sites under load from each of them to both others, at QoS 1 and at QoS 2.
type trio struct {
	*mesh
	ports         map[*site]*port
	once, atLeast map[*site]*record
	loads         map[*site][]*load
	marks         map[*site]*load // one message now and then
}

// besiegeThree does something to three sites that are machines of their own, under load. Then nothing that was acknowledged may be
// missing or out of order at QoS 1 and 2 anywhere, and nothing doubled at QoS 2.
func besiegeThree(t *testing.T, listen string, faults func(s *trio)) {
	t.Helper()
	requireNetns(t)
	m := newMesh(t, []string{"alice", "bob", "carol"})
	s := &trio{mesh: m, ports: m.apart(listen), once: map[*site]*record{}, atLeast: map[*site]*record{}, loads: map[*site][]*load{}, marks: map[*site]*load{}}
	m.start()
	var stops []func()
	for _, at := range m.sites {
		s.once[at], s.atLeast[at] = newRecord(t, at.broker.addr, "q2/#", 2), newRecord(t, at.broker.addr, "q1/#", 1)
		s.marks[at] = newLoad(t, at.broker.addr, "q2/mark/"+at.name, 2)
		s.marks[at].topics = 1
	}
	for _, at := range m.sites {
		for _, l := range []*load{newLoad(t, at.broker.addr, "q1/"+at.name, 1), newLoad(t, at.broker.addr, "q2/"+at.name, 2)} {
			l.pace = 20 * time.Millisecond
			s.loads[at] = append(s.loads[at], l)
			stops = append(stops, l.start(t))
		}
	}
	faults(s)
	for _, stop := range stops {
		stop()
	}
	for _, at := range m.sites {
		for _, from := range m.sites {
			s.atLeast[at].awaitAll(t, s.loads[from][0], 60*time.Second)
			s.once[at].awaitAll(t, s.loads[from][1], 60*time.Second)
		}
		s.atLeast[at].requireOrder(t)
		s.once[at].requireOrder(t)
		s.once[at].requireOnce(t)
	}
}

// moment waits for a random one, after messages have come everywhere.
func (s *trio) moment() {
	s.t.Helper()
	for _, at := range s.sites {
		s.once[at].awaitMore(s.t, 20, 60*time.Second)
	}
	time.Sleep(rand.N(500 * time.Millisecond))
}

// soon is how long a network that can carry messages again may carry none.
const soon = 30 * time.Second

// awaitHealed waits until what every site publishes from now on comes to every other one.
func (s *trio) awaitHealed(after string) {
	s.t.Helper()
	begin := time.Now()
	for _, from := range s.sites {
		if err := s.marks[from].publish(s.t.Context(), 1); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, at := range s.sites {
		for _, from := range s.sites {
			s.once[at].awaitAll(s.t, s.marks[from], soon)
		}
	}
	s.t.Logf("messages flow %v after %s", time.Since(begin).Round(100*time.Millisecond), after)
}

const (
	overTCP  = "/ip4/0.0.0.0/tcp/4001"
	overQUIC = "/ip4/0.0.0.0/udp/4001/quic-v1"
)

// onEach runs the test for each way that nodes may be connected.
func onEach(t *testing.T, test func(t *testing.T, listen string)) {
	t.Helper()
	t.Parallel()
	for name, listen := range map[string]string{"TCP": overTCP, "QUIC": overQUIC} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, listen)
		})
	}
}

func TestNothingIsLostAmongThreeMachinesWhenAnyNodeIsKilled(t *testing.T) {
	onEach(t, func(t *testing.T, listen string) {
		besiegeThree(t, listen, func(s *trio) {
			for _, victim := range s.sites {
				s.moment()
				victim.node.kill()
				victim.node.start()
				s.awaitHealed("the end of " + victim.name)
			}
		})
	})
}

func TestNothingIsLostAmongThreeMachinesWhenALinkIsCut(t *testing.T) {
	onEach(t, func(t *testing.T, listen string) {
		besiegeThree(t, listen, func(s *trio) {
			for _, victim := range s.sites {
				s.moment()
				s.ports[victim].cut()
				time.Sleep(rand.N(3 * time.Second)) // how long a cut lasts
				s.ports[victim].heal()
				s.awaitHealed("a cut of " + victim.name)
			}
		})
	})
}

// A network that swallows packets tells nobody: what a connection sends is repeated less and less often.
func TestNothingIsLostAmongThreeMachinesWhenTheNetworkSwallowsPackets(t *testing.T) {
	onEach(t, func(t *testing.T, listen string) {
		besiegeThree(t, listen, func(s *trio) {
			s.moment()
			victim := s.ports[s.sites[rand.N(len(s.sites))]]
			victim.swallow()
			time.Sleep(rand.N(10 * time.Second)) // how long it lasts
			victim.open()
			s.awaitHealed("a black hole")
		})
	})
}

// Two of three machines get other addresses at the same time: neither knows where the other is, and the connections that they had
// never end by themselves. The third knows both.
func TestMachinesWithNewAddressesFindEachOther(t *testing.T) {
	onEach(t, func(t *testing.T, listen string) {
		besiegeThree(t, listen, func(s *trio) {
			s.moment()
			s.ports[s.sites[0]].move("10.77.0.101/24")
			s.ports[s.sites[1]].move("10.77.0.102/24")
			s.awaitHealed("two new addresses")
		})
	})
}

// A site comes that nobody has seen before, and that knows the address of one node: what is published from then on is everywhere.
func TestSiteThatJoinsLateGetsEverythingFromThenOn(t *testing.T) {
	t.Parallel()
	requireNetns(t)
	m := newMesh(t, []string{"alice", "bob", "carol"})
	m.apart()
	m.introduce()
	late := m.sites[2]
	m.sites = m.sites[:2]
	late.broker.start()
	r := newRecord(t, late.broker.addr, "all/#", 2)
	var loads []*load
	for _, s := range m.sites {
		s.broker.start()
		s.node.start()
		loads = append(loads, newLoad(t, s.broker.addr, "all/"+s.name, 2))
	}
	publish := func(count int) {
		for _, l := range loads {
			require.NoError(t, l.publish(t.Context(), count))
		}
	}
	m.awaitLinked()
	publish(50)
	require.Zero(t, r.arrivals())
	late.node.start()
	m.sites = append(m.sites, late)
	m.awaitLinked()
	publish(100)
	for _, l := range loads {
		r.awaitFrom(t, l, 50/l.topics, 60*time.Second)
	}
	r.requireOrder(t)
	r.requireOnce(t)
}

// The origin of a broadcast is stopped before a follower that was away is back: that one gets what it has missed from the other one.
func TestFollowerThatWasAwayCatchesUpFromAnotherMachineWhileTheOriginIsStopped(t *testing.T) {
	t.Parallel()
	requireNetns(t)
	m := newMesh(t, []string{"alice", "bob", "carol"})
	m.apart()
	alice, bob, carol := m.sites[0], m.sites[1], m.sites[2]
	alice.node.config["routes"] = list{object{"name": "alarms", "match": list{"#"}, "to": "hub", "mode": "broadcast", "qos": 2}}
	bob.node.config["routes"], carol.node.config["routes"] = list{}, list{}
	m.start()
	var loads []*load
	records := map[*site][]*record{}
	for qos, filter := range []string{1: "q1/#", 2: "q2/#"} {
		if qos == 0 {
			continue
		}
		loads = append(loads, newLoad(t, alice.broker.addr, filter[:2], byte(qos)))
		for _, s := range []*site{bob, carol} {
			records[s] = append(records[s], newRecord(t, s.broker.addr, filter, byte(qos)))
		}
	}
	publish := func(count int, to ...*site) {
		t.Helper()
		for _, l := range loads {
			require.NoError(t, l.publish(t.Context(), count))
		}
		for _, s := range to {
			for i, l := range loads {
				records[s][i].awaitAll(t, l, 60*time.Second)
			}
		}
	}
	bob.node.awaitFollowing("alice")
	carol.node.awaitFollowing("alice")
	publish(100, bob, carol)
	carol.node.kill()
	publish(1000, bob)
	require.Zero(t, alice.node.stop())
	carol.node.start()
	for i, l := range loads {
		records[carol][i].awaitAll(t, l, 60*time.Second)
	}
	alice.node.start()
	publish(100, bob, carol)
	for _, of := range records {
		of[0].requireOrder(t)
		of[1].requireOrder(t)
		of[1].requireOnce(t)
	}
}

// Nodes with nothing in their configuration but each other's keys: those on one local network find each other.
func TestNodesOfOneLocalNetworkFindEachOther(t *testing.T) {
	t.Parallel()
	requireNetns(t)
	m := newMesh(t, []string{"alice", "bob", "carol"})
	m.apart()
	for _, s := range m.sites {
		s.node.config["transports"] = object{"hub": object{"type": "kademlia"}}
	}
	m.start()
	for _, s := range m.sites {
		s.node.await(30*time.Second, func(st pipeline.Status) error {
			for _, p := range st.Transports["hub"].Mesh.Peers {
				if p.How != "direct TCP" && p.How != "direct QUIC" {
					return fmt.Errorf("%s reaches %s: %s", s.name, p.Peer, p.How)
				}
			}
			return nil
		})
	}
}

// Two sites, each behind a router that lets in only what was asked for, and a relay that both reach. Do they talk over that, do they get
// through the routers then, and is what they say of it true? The addresses are public ones, for libp2p does not try to get through to
// others; nothing leaves the namespaces.
func TestSitesBehindRoutersTalkOverARelayAndThenDirectly(t *testing.T) {
	t.Parallel()
	requireNAT(t)
	m := newMesh(t, []string{"relay", "alice", "bob"})
	m.nats = nil
	relay, alice, bob := m.sites[0], m.sites[1], m.sites[2]
	internet, routers := newLAN(t), map[*site]string{}
	for i, s := range m.sites {
		n := newNetns(t, s.name)
		s.into(n)
		addr := fmt.Sprintf("45.77.0.%d", i+1)
		hub := object{"type": "kademlia", "mdns": false}
		if s == relay {
			hub["relay"] = object{"serve": true}
			internet.plug(n, "eth0", addr+"/24")
		} else {
			hub["bootstrap"] = list{"/ip4/45.77.0.1/udp/4001/quic-v1/p2p/" + peerID(t, relay.node)}
			hub["relays"] = hub["bootstrap"]
			internet.behindNAT(n, addr+"/24")
			routers[s] = addr
		}
		s.node.config["transports"] = object{"hub": hub}
	}
	m.start()
	out, in := newLoad(t, alice.broker.addr, "out", 2), newLoad(t, bob.broker.addr, "in", 2)
	atBob, atAlice := newRecord(t, bob.broker.addr, "out/#", 2), newRecord(t, alice.broker.addr, "in/#", 2)
	flow := func() {
		t.Helper()
		require.NoError(t, out.publish(t.Context(), 200))
		require.NoError(t, in.publish(t.Context(), 200))
		atBob.awaitAll(t, out, 60*time.Second)
		atAlice.awaitAll(t, in, 60*time.Second)
	}
	direct := func() {
		t.Helper()
		for from, to := range map[*site]*site{alice: bob, bob: alice} {
			from.node.await(120*time.Second, func(st pipeline.Status) error {
				for _, p := range st.Transports["hub"].Mesh.Peers {
					if p.Peer == to.name && p.How == "direct QUIC" {
						require.Equal(t, "/ip4/"+routers[to]+"/udp/4001/quic-v1", p.Address)
						return nil
					}
				}
				return fmt.Errorf("%s reaches %s over the relay alone: %+v", from.name, to.name, st.Transports["hub"].Mesh.Peers)
			})
		}
	}
	flow()
	direct()
	flow()
	direct()          // while both begin to be connected directly, one of several connections may go yet
	relay.node.kill() // which does no harm any more
	flow()
	for _, r := range []*record{atBob, atAlice} {
		r.requireOrder(t)
		r.requireOnce(t)
	}
}

package e2e_test

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Connections are cut at random, on all four links between the two brokers, under load. Is nothing lost, doubled at QoS 2
// or out of order?
func TestCutConnectionsLoseNothingAndKeepTheOrder(t *testing.T) {
	t.Parallel()
	m, alice, bob := pair(t)
	var links []*proxy
	through := func(addr string) string {
		p := newProxy(t, addr)
		links = append(links, p)
		return p.addr
	}
	for _, s := range m.sites {
		s.node.config["broker"] = object{"url": "mqtt://" + through(s.broker.addr), "reconnect_min": "50ms", "reconnect_max": "200ms"}
		s.node.config["transports"] = object{"hub": object{"type": "nats", "url": "nats://" + through(m.nats.addr)}}
	}
	alice.node.config["subscribe"] = list{}
	alice.node.config["routes"] = list{
		object{"name": "batched", "match": list{"q1/#"}, "to": "hub", "qos": 2, "batch": object{"period": "20ms", "count": 20}},
		object{"name": "all", "match": list{"#"}, "to": "hub", "qos": 2},
	}
	bob.node.config["routes"] = list{}
	m.introduce()
	m.nats.start()
	for _, s := range m.sites {
		s.broker.start()
		s.node.start()
	}
	m.awaitLinked()
	atLeast, once := newRecord(t, bob.broker.addr, "q1/#", 1), newRecord(t, bob.broker.addr, "q2/#", 2)
	q1, q2 := newLoad(t, alice.broker.addr, "q1", 1), newLoad(t, alice.broker.addr, "q2", 2)
	q1.pace, q2.pace = 2*time.Millisecond, 2*time.Millisecond
	stop1, stop2 := q1.start(t), q2.start(t)
	for range 2 * rounds(t) {
		once.awaitMore(t, 10, 60*time.Second)
		time.Sleep(rand.N(100 * time.Millisecond)) // the random moment
		links[rand.N(len(links))].cut()
	}
	stop1()
	stop2()
	atLeast.awaitAll(t, q1, 60*time.Second)
	once.awaitAll(t, q2, 60*time.Second)
	atLeast.requireOrder(t)
	once.requireOrder(t)
	once.requireOnce(t)
	t.Logf("%d messages, at QoS 1 %d of them again", q1.total()+q2.total(), atLeast.repeats())
}

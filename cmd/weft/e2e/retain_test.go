package e2e_test

import "testing"

// keep lets a Mosquitto keep its retained messages over a restart.
const keep = "persistence true"

// requireRetained fails the test unless a new subscriber gets exactly these retained messages ("topic payload") from the broker.
func requireRetained(t *testing.T, b *broker, want ...string) {
	t.Helper()
	sub := b.sub("-t", "state/#", "-t", "$probe", "-F", "%t %p")
	b.pub("-t", "$probe", "-m", "end") // behind what the broker has; no route takes it
	awaitLines(t, sub, append(want, "$probe end")...)
}

// A retained message is deleted while the other sites are down. Is it gone everywhere once they are back, and does the old
// value come back nowhere?
func TestDeleteOfRetainedMessageReachesSitesThatWereDown(t *testing.T) {
	m := newMesh(t, []string{"alice", "bob", "carol"}, keep)
	alice, others := m.sites[0], m.sites[1:]
	m.start()
	alice.broker.pub("-t", "state/door", "-r", "-q", "1", "-m", "open")
	alice.broker.pub("-t", "state/lamp", "-r", "-q", "1", "-m", "on")
	for _, s := range others {
		awaitLines(t, s.broker.sub("-t", "state/lamp", "-F", "%p"), "on")
		requireRetained(t, s.broker, "state/door open", "state/lamp on")
		s.node.stop()
		s.broker.stop()
	}
	alice.broker.pub("-t", "state/door", "-r", "-q", "1", "-n")
	alice.broker.pub("-t", "state/lamp", "-r", "-q", "1", "-m", "off")
	for _, s := range others {
		s.broker.start()
		s.node.start()
	}
	for _, s := range others {
		sub := s.broker.sub("-t", "state/#", "-F", "%t %p")
		alice.broker.pub("-t", "state/end", "-q", "1", "-m", s.name) // behind everything else
		eventuallyHas(t, sub, "state/end "+s.name)
	}
	for _, s := range m.sites {
		requireRetained(t, s.broker, "state/lamp off")
	}
}

// The same while the deleting site's own node is down: its broker keeps the delete for it.
func TestDeleteOfRetainedMessageWhileOwnNodeIsDown(t *testing.T) {
	m, alice, bob := pair(t, keep)
	m.start()
	alice.broker.pub("-t", "state/door", "-r", "-q", "1", "-m", "open")
	sub := bob.broker.sub("-t", "state/#", "-F", "%t %p")
	awaitLines(t, sub, "state/door open")
	alice.node.kill()
	alice.broker.pub("-t", "state/door", "-r", "-q", "1", "-n")
	alice.broker.pub("-t", "state/end", "-q", "1", "-m", "end")
	alice.node.start()
	eventuallyHas(t, sub, "state/end end")
	requireRetained(t, bob.broker)
	requireRetained(t, alice.broker)
	m.awaitLinked()
}

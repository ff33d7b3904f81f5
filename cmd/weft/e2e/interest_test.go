package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
)

const directStream = "WEFT_DIRECT"

// Nobody has asked for anything: does nothing leave the site?
func TestNothingIsSentThatNobodyAskedFor(t *testing.T) {
	m, alice, bob := pair(t)
	bob.node.config["subscribe"] = list{"doors/#"}
	m.start()
	quiet := newLoad(t, alice.broker.addr, "lamps", 1)
	require.NoError(t, quiet.publish(t.Context(), 1000))
	alice.node.await(20*time.Second, func(s pipeline.Status) error {
		if s.Outgoing.Taken != 1000 || s.Outgoing.Unwanted != 1000 {
			return fmt.Errorf("of 1000 messages %d were taken, %d of them wanted by nobody", s.Outgoing.Taken, s.Outgoing.Unwanted)
		}
		return nil
	})
	require.Zero(t, m.nats.published(directStream), "frames for bob")
	s, err := alice.node.status()
	require.NoError(t, err)
	require.Zero(t, lane(t, s, "all/bob").SentBytes)

	sub := bob.broker.sub("-t", "#", "-F", "%t %p") // the link works, and carries what is wanted
	alice.broker.pub("-t", "doors/1", "-m", "open")
	awaitLines(t, sub, "doors/1 open")
	require.EqualValues(t, 1, m.nats.published(directStream), "frames for bob")
}

// A site asks for more while messages flow. Does its wish take effect within seconds, and is nothing lost that is published
// after the other site has confirmed it?
func TestNewFilterTakesEffectAndLosesNothingAfterItIsConfirmed(t *testing.T) {
	for _, how := range []struct {
		name   string
		change func(n *node)
	}{
		{"reload", func(n *node) { n.reload() }},
		{"restart", func(n *node) { n.stop(); n.start() }},
	} {
		t.Run(how.name, func(t *testing.T) {
			m, alice, bob := pair(t)
			bob.node.config["subscribe"] = list{"doors/#"}
			m.start()
			r := newRecord(t, bob.broker.addr, "#", 1)
			doors, lamps := newLoad(t, alice.broker.addr, "doors", 1), newLoad(t, alice.broker.addr, "lamps", 1)
			doors.pace, lamps.topics = time.Millisecond, 1
			stop := doors.start(t)
			require.NoError(t, lamps.publish(t.Context(), 100))
			r.awaitMore(t, 100, 10*time.Second)
			bob.node.config["subscribe"] = list{"doors/#", "lamps/#"}
			before := time.Now()
			how.change(bob.node)
			alice.node.awaitWishes("bob", "doors/#", "lamps/#")
			t.Logf("in effect after %v", time.Since(before).Round(time.Millisecond))
			require.NoError(t, lamps.publish(t.Context(), 100))
			stop()
			r.awaitAll(t, doors, 20*time.Second)
			r.awaitFrom(t, lamps, 100, 20*time.Second)
			r.requireOrder(t)
		})
	}
}

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
)

// staged gives the only route of a site stages.
func staged(s *site, stages ...any) {
	s.node.config["routes"].(list)[0].(object)["stages"] = stages
}

// there and back are stages that rename all under a topic, and undo that.
func there(topic string) object {
	return object{"type": "rename", "from": topic + "/#", "to": "far/" + topic + "/{#}"}
}

func back(topic string) object {
	return object{"type": "rename", "from": "far/" + topic + "/#", "to": topic + "/{#}"}
}

// Doors that repeat themselves cross once, a counter crosses in its first and its last value, and both under other names, which are what
// the other site asks for. Deletes of retained messages cross whatever the stages are.
func TestStagesOfARouteDecideWhatCrosses(t *testing.T) {
	m, alice, bob := pair(t)
	staged(alice, "on_change", object{"type": "sample", "every": "1s"}, object{"type": "rename", "from": "home/#", "to": "alice/{#}"})
	bob.node.config["subscribe"] = list{"alice/#"}
	m.start()
	sub := bob.broker.sub("-t", "#", "-F", "%t %r %p")
	for _, state := range []string{"shut", "shut", "shut"} {
		alice.broker.pub("-t", "home/door", "-q", "2", "-m", state)
	}
	for n := range 50 {
		alice.broker.pub("-t", "home/count", "-q", "1", "-m", fmt.Sprint(n))
	}
	eventuallyHas(t, sub, "alice/count 0 49")
	alice.broker.pub("-t", "home/lamp", "-q", "1", "-m", "on", "-r")
	eventuallyHas(t, sub, "alice/lamp 0 on")
	alice.broker.pub("-t", "home/lamp", "-q", "1", "-n", "-r")
	eventuallyHas(t, sub, "alice/lamp 0 ")
	alice.node.awaitEmpty(20 * time.Second)
	doors, counts := 0, 0
	for _, line := range messages(sub) {
		switch {
		case line == "alice/door 0 shut":
			doors++
		case len(line) > 11 && line[:11] == "alice/count":
			counts++
		}
	}
	require.Equal(t, 1, doors)
	require.Less(t, counts, 50)
	late := bob.broker.sub("-t", "alice/lamp", "-t", "end", "-F", "%t %r %p")
	bob.broker.pub("-t", "end", "-m", "1")
	eventuallyHas(t, late, "end 0 1")
	require.NotContains(t, messages(late), "alice/lamp 1 on", "the far side's retained message is deleted as well")
	s, err := alice.node.status()
	require.NoError(t, err)
	require.Condition(t, func() bool { return dropped(s, "all/+stages", "stages") >= 2 }, "%+v", s.Lanes)
}

// dropped returns how many messages a lane has dropped for a reason.
func dropped(s pipeline.Status, lane, reason string) uint64 {
	for _, l := range s.Lanes {
		if l.Name == lane {
			return l.Dropped[reason]
		}
	}
	return 0
}

// Stages on both sides, on the route's way out and the subscription's way in: is nothing lost, doubled or out of order when either node is
// killed under load?
func TestNothingIsLostOrDoubledBetweenStagesWhenNodesAreKilled(t *testing.T) {
	t.Parallel()
	m, alice, bob := pair(t)
	staged(alice, there("q1"), there("q2"))
	bob.node.config["subscribe"] = list{object{"filter": "far/#", "stages": list{back("q1"), back("q2")}}}
	killed := 0
	m.besiege(func(s *siege) {
		victim := []*site{s.alice, s.bob}[killed%2]
		killed++
		victim.node.kill()
		victim.node.start()
	})
}

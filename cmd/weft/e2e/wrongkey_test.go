package e2e_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/identity"
)

// Both owners list a wrong key of the other, after a time in which all was well, and bob comes to want something else meanwhile.
// What alice's broker is given then waits. When the owners mend their lists, alice's node, which is killed while it stops, knows
// bob's old wishes from its disk. Does it judge what waits by those?
func TestMessageOutlivesWrongKeysAndAProfileThatIsStale(t *testing.T) {
	m, alice, bob := pair(t)
	bob.node.config["subscribe"] = list{"lamps/#"}
	m.start()
	right := map[*site]any{}
	for _, s := range m.sites {
		right[s] = s.node.config["peers"]
		other := m.peers(s)[0].name
		s.node.config["peers"] = list{object{"name": other, "key": identity.FormatKey(stranger(t).Public())}}
	}
	bob.node.config["subscribe"] = list{"doors/#"}
	for _, s := range m.sites {
		s.node.reload()
		s.node.await(30*time.Second, func(s pipeline.Status) error {
			if len(s.Peers) != 1 || s.Peers[0].Known {
				return fmt.Errorf("%s knows its peer still: %+v", s.Node, s.Peers)
			}
			return nil
		})
		s.node.awaitReady()
	}
	sub := bob.broker.sub("-t", "#", "-q", "1", "-F", "%t %p")
	alice.broker.pub("-t", "doors/1", "-q", "1", "-m", "open")
	alice.node.await(10*time.Second, func(s pipeline.Status) error {
		if depth := lane(t, s, "all/bob").Depth; depth != 1 {
			return fmt.Errorf("%d messages wait for bob", depth)
		}
		return nil
	})
	alice.node.config["peers"] = right[alice]
	alice.node.signal(syscall.SIGTERM)
	alice.node.kill()
	alice.node.start()
	alice.node.awaitReady()
	bob.node.config["peers"] = right[bob]
	bob.node.reload()
	awaitLines(t, sub, "doors/1 open")
	s, err := alice.node.status()
	require.NoError(t, err)
	require.Empty(t, lane(t, s, "all/bob").Dropped)
}

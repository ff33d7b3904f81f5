package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/transports/kademlia"
)

// overKademlia joins the sites by a mesh of their nodes instead of a server: all enter it by the first.
func (m *mesh) overKademlia() {
	m.t.Helper()
	m.nats = nil
	var first string
	for i, s := range m.sites {
		_, port, _ := strings.Cut(freeAddr(m.t), ":")
		listen := "/ip4/127.0.0.1/tcp/" + port
		hub := object{"type": "kademlia", "mdns": false, "listen": list{listen}}
		if i == 0 {
			first = listen + "/p2p/" + peerID(m.t, s.node)
		} else {
			hub["bootstrap"] = list{first}
		}
		s.node.config["transports"] = object{"hub": hub}
	}
}

// peerID returns a node's name in the mesh.
func peerID(t *testing.T, n *node) string {
	t.Helper()
	var entry struct{ Key string }
	require.NoError(t, json.Unmarshal(peerEntry(t, n), &entry))
	key, err := identity.ParseKey(entry.Key)
	require.NoError(t, err)
	id, err := kademlia.PeerID(key)
	require.NoError(t, err)
	return id.String()
}

// awaitFollowing waits until the node follows the broadcasts of the others.
func (n *node) awaitFollowing(others ...string) {
	n.t.Helper()
	n.await(30*time.Second, func(s pipeline.Status) error {
		for _, p := range s.Transports["hub"].Mesh.Peers {
			if slices.Contains(others, p.Peer) && (p.Feed == nil || p.Feed.Taken == 0) {
				return fmt.Errorf("%s does not follow %s", n.name, p.Peer)
			}
		}
		return nil
	})
}

func TestMeshCarriesMessagesBothWays(t *testing.T) {
	t.Parallel()
	m, alice, bob := pair(t)
	m.overKademlia()
	m.start()
	r, back := newRecord(t, bob.broker.addr, "doors/#", 2), newRecord(t, alice.broker.addr, "fridges/#", 2)
	out, in := newLoad(t, alice.broker.addr, "doors", 2), newLoad(t, bob.broker.addr, "fridges", 1)
	stopOut, stopIn := out.start(t), in.start(t)
	r.awaitMore(t, 100, 60*time.Second)
	back.awaitMore(t, 100, 60*time.Second)
	stopOut()
	stopIn()
	r.awaitAll(t, out, 60*time.Second)
	back.awaitAll(t, in, 60*time.Second)
	r.requireOnce(t)
	r.requireOrder(t)
	back.requireOrder(t)
}

func TestNothingIsLostOrDoubledInTheMeshWhenANodeIsKilled(t *testing.T) {
	sender, recipient := func(s *siege) *node { return s.alice.node }, func(s *siege) *node { return s.bob.node }
	for _, tt := range []struct {
		name   string
		mode   string
		victim func(s *siege) *node
	}{
		{"the sender", "direct", sender},
		{"the recipient", "direct", recipient},
		{"the origin of broadcasts", "broadcast", sender},
		{"a follower", "broadcast", recipient},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, _, _ := pair(t)
			m.overKademlia()
			m.sites[0].node.config["routes"] = list{object{"name": "all", "match": list{"#"}, "to": "hub", "qos": 2, "mode": tt.mode}}
			m.besiege(func(s *siege) {
				tt.victim(s).kill()
				tt.victim(s).start()
			})
		})
	}
}

// A node that stands still has its connections, and answers nothing: they must not keep the others from going on when it is back.
func TestNothingIsLostInTheMeshWhenTheRecipientFreezes(t *testing.T) {
	t.Parallel()
	m, _, _ := pair(t)
	m.overKademlia()
	m.besiege(func(s *siege) {
		s.bob.node.signal(syscall.SIGSTOP)
		s.bob.node.signal(syscall.SIGCONT)
	})
}

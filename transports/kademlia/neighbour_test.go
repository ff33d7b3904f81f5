package kademlia_test

import (
	"crypto/ed25519"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia"
)

// A peer is where nobody of the mesh answers. Is it tried again as soon as this node means to, not after the five seconds and more that
// libp2p lets pass by itself, and is the reason said?
func TestAbsentPeerIsTriedAgainAndSaidWhy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	tried := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
			tried <- struct{}{}
		}
	}()
	m := &mesh{dirs: map[string]string{}, names: []string{"alice", "bob"}}
	id, err := kademlia.PeerID(keyOf("bob").Public().(ed25519.PublicKey))
	require.NoError(t, err)
	c := m.config(t, "alice")
	c.Bootstrap = []string{"/ip4/127.0.0.1/tcp/" + l.Addr().String()[len("127.0.0.1:"):] + "/p2p/" + id.String()}
	alice, err := kademlia.New(c, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, alice.Start(t.Context()))
	defer alice.Close()
	for late := time.After(10 * time.Second); len(tried) < 3; {
		select {
		case <-late:
			t.Fatal("not tried again")
		case <-time.After(20 * time.Millisecond):
		}
	}
	detail := alice.Report().Detail
	require.True(t, strings.HasPrefix(detail, "not connected: bob (bob: /ip4/127.0.0.1/tcp/"), detail)
	require.NotContains(t, detail, "backoff")
}

// A node that many enter the mesh by has not room for all of them.
func TestANodeToEnterByIsLeftAloneOnceOthersAreKnown(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	require.True(t, kademlia.NeedsDoor(alice))
	for _, name := range m.names[1:] {
		start(t, m.node(t, name))
	}
	eventually(t, "there are others to ask", func() bool { return !kademlia.NeedsDoor(alice) })
}

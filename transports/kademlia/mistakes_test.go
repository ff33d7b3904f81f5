package kademlia_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// A second node listens on the port of the first. libp2p would let them share it.
func TestAPortThatAnotherNodeHasIsNotShared(t *testing.T) {
	noLeaks(t)
	m := &mesh{dirs: map[string]string{}}
	alice := start(t, m.node(t, "alice"))
	c := m.config(t, "bob")
	c.Listen = []string{port(alice)}
	err := build(t, c).Start(t.Context())
	require.ErrorContains(t, err, "listen on "+port(alice)+": another program, or another weft, listens there; end it, or give listen with another port")
}

// Alice lists bob, and bob does not list her. Do both of their owners get to know?
func TestAPeerThatDoesNotListThisNodeIsSeen(t *testing.T) {
	for how, listen := range map[string]string{"direct TCP": "/ip4/127.0.0.1/tcp/0", "direct QUIC": "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(how, func(t *testing.T) {
			noLeaks(t)
			alone := &mesh{dirs: map[string]string{}, names: []string{"carol"}}
			c := alone.config(t, "bob")
			c.Listen = []string{listen}
			var log lines
			bob, err := kademlia.New(c, slog.New(slog.NewTextHandler(&log, nil)))
			require.NoError(t, err)
			start(t, bob)
			m := &mesh{dirs: map[string]string{}, names: []string{"bob"}, bootstrap: bob.Addresses()[0]}
			alice := start(t, m.node(t, "alice"))
			require.NoError(t, alice.Announce(t.Context(), []byte("of alice")))
			eventually(t, "alice's owner is told", func() bool {
				r := reached(t, alice, "bob")
				return r.How == how && strings.Contains(r.Trouble, "does not list this node")
			})
			key := "ed25519:" + base64.RawURLEncoding.EncodeToString(keyOf("alice").Public().(ed25519.PublicKey))
			eventually(t, "bob's owner is told", func() bool { return strings.Contains(log.String(), key) })
			require.Equal(t, 1, strings.Count(log.String(), key))
		})
	}
}

// Nobody asks for a while how the node is. Is it up since its peer is connected, and not since somebody asks?
func TestTheStateLastsSinceItBegan(t *testing.T) {
	noLeaks(t)
	m := &mesh{dirs: map[string]string{}, names: []string{"alice", "bob"}}
	alice := start(t, m.node(t, "alice"))
	m.bootstrap = alice.Addresses()[0]
	bob := start(t, m.node(t, "bob"))
	eventually(t, "they are connected", func() bool { return connected(bob, "alice") && reached(t, alice, "bob").How == "direct TCP" })
	require.NoError(t, alice.Announce(t.Context(), []byte("profile"))) // which alice shows to whom she knows to be connected
	eventually(t, "bob has seen it", func() bool { return bob.Version("alice") > 0 })
	asked := time.Now()
	r := alice.Report()
	require.Equal(t, transports.Up, r.State)
	require.True(t, r.Since.Before(asked), "up since %v, asked at %v", r.Since, asked)
}

// lines is a log to read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

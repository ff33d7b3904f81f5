package kademlia_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// keyOf returns the key of the node of that name in every test.
func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// mesh is a mesh of nodes on loopback, that all list each other and enter it by one that stays.
type mesh struct {
	bootstrap string
	names     []string
	dirs      map[string]string
	log       kademlia.Log // limits of the feeds; default where zero
}

func newMesh(t testing.TB) *mesh {
	t.Helper()
	m := &mesh{dirs: map[string]string{}, names: []string{
		"alice", "bob", "carol", "dave", "stranger", "nobody", "origin0", "origin1", "origin2", "origin3",
	}}
	c := m.config(t, "lighthouse")
	c.Peers = nil
	lighthouse, err := kademlia.New(c, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.NoError(t, lighthouse.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, lighthouse.Close()) })
	m.bootstrap = lighthouse.Addresses()[0]
	return m
}

func (m *mesh) config(t testing.TB, name string) kademlia.Config {
	t.Helper()
	var c kademlia.Config
	c.SetDefaults()
	if m.log.Bytes > 0 {
		c.Log.Bytes = m.log.Bytes
	}
	c.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	if m.bootstrap != "" {
		c.Bootstrap = []string{m.bootstrap}
	}
	c.Node = name
	c.Key = func() (ed25519.PrivateKey, error) { return keyOf(name), nil }
	for _, other := range m.names {
		if other != name {
			c.Peers = append(c.Peers, kademlia.Peer{Name: other, Key: keyOf(other).Public().(ed25519.PublicKey)})
		}
	}
	if m.dirs[name] == "" {
		m.dirs[name] = t.TempDir()
	}
	c.DataDir = m.dirs[name]
	return c
}

func (m *mesh) node(t testing.TB, name string, follow ...string) *kademlia.Transport {
	t.Helper()
	c := m.config(t, name)
	c.Follow = follow
	return build(t, c)
}

func build(t testing.TB, c kademlia.Config) *kademlia.Transport {
	t.Helper()
	node, err := kademlia.New(c, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return node
}

// start starts a node, which ends with the test at the latest.
func start(t testing.TB, node *kademlia.Transport) *kademlia.Transport {
	t.Helper()
	require.NoError(t, node.Start(t.Context()))
	t.Cleanup(func() { _ = node.Close() })
	return node
}

// idOf returns the id of the node of that name in the mesh.
func idOf(t *testing.T, name string) peer.ID {
	t.Helper()
	id, err := kademlia.PeerID(keyOf(name).Public().(ed25519.PublicKey))
	require.NoError(t, err)
	return id
}

// bare is a host with the key of that name, that speaks the protocols only as the test does.
func bare(t *testing.T, name string) host.Host {
	t.Helper()
	private, err := crypto.UnmarshalEd25519PrivateKey(keyOf(name))
	require.NoError(t, err)
	h, err := libp2p.New(libp2p.Identity(private), libp2p.Transport(tcp.NewTCPTransport), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.DisableMetrics(), libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableRelay())
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// reach connects the host to the node.
func reach(t *testing.T, h host.Host, node *kademlia.Transport) peer.ID {
	t.Helper()
	info, err := peer.AddrInfoFromString(node.Addresses()[0])
	require.NoError(t, err)
	require.NoError(t, h.Connect(t.Context(), *info))
	return info.ID
}

// numbered returns the frame of that number.
func numbered(n int) *message.Message {
	return message.NewMessage(fmt.Sprintf("frame-%d", n), fmt.Appendf(nil, "%d", n))
}

// subscribe begins a subscription that lasts as long as the test.
func subscribe(t testing.TB, node *kademlia.Transport, topic string) <-chan *message.Message {
	t.Helper()
	frames, err := node.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	return frames
}

// receive returns the next frame, not acknowledged.
func receive(t testing.TB, frames <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-frames:
		if !ok {
			t.Fatal("channel closed")
		}
		return m
	case <-time.After(patience):
		t.Fatal("no frame")
	}
	return nil
}

// result returns what became of a frame.
func result(t testing.TB, sent <-chan error) error {
	t.Helper()
	select {
	case err := <-sent:
		return err
	case <-time.After(patience):
		t.Fatal("nothing becomes of the frame")
	}
	return nil
}

// see reads announcements until the latest of the node is the profile.
func see(t *testing.T, profiles <-chan transports.Announcement, name, profile string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case a, ok := <-profiles:
			if !ok {
				t.Fatal("watch ended")
			}
			if a.Node == name && string(a.Profile) == profile {
				return
			}
		case <-deadline:
			t.Fatalf("profile %q of %s never seen", profile, name)
		}
	}
}

// eventually polls until the claim holds.
func eventually(t testing.TB, claim string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", claim)
		}
	}
}

// noLeaks checks, after all other cleanup, that the goroutines of the test have ended.
func noLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if !t.Failed() {
			goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/libp2p/go-flow-metrics.(*sweeper).run"))
		}
	})
}

// connected reports whether the node has a connection to the peer.
func connected(node *kademlia.Transport, name string) bool {
	for _, p := range node.Mesh().Peers {
		if p.Peer == name {
			return p.How != "unreachable"
		}
	}
	return false
}

package kademlia_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
	"github.com/weft-relay/weft/transports/transporttest"
)

func TestTransportKeepsItsPromises(t *testing.T) {
	transporttest.Run(t, transporttest.Features{}, func(t *testing.T) transporttest.Network {
		m := newMesh(t)
		return transporttest.Network{
			Node: func(t *testing.T, name string, follow ...string) transports.Transport {
				return m.node(t, name, follow...)
			},
		}
	})
}

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
	node, err := kademlia.New(c, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return node
}

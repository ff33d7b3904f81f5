package kademlia_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

func TestTheIDInTheMeshIsTheKeyOfTheNode(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	private, err := crypto.UnmarshalEd25519PrivateKey(keyOf("alice"))
	require.NoError(t, err)
	want, err := peer.IDFromPrivateKey(private)
	require.NoError(t, err)
	require.Equal(t, want.String(), alice.Mesh().ID)
	require.Equal(t, want, idOf(t, "alice"))
	public, err := want.ExtractPublicKey()
	require.NoError(t, err)
	raw, err := public.Raw()
	require.NoError(t, err)
	require.Equal(t, []byte(keyOf("alice")[32:]), raw, "the key can be read from the id: nothing has to be looked up, or believed")
	require.Contains(t, alice.Addresses()[0], "/p2p/"+want.String())
}

// frameBytes is a frame as it is sent.
func frameBytes(uuid, payload string) (b []byte) {
	for _, s := range []string{uuid, payload} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b
}

// isReset waits until the node has reset the stream, having answered nothing.
func isReset(t *testing.T, s network.Stream) {
	t.Helper()
	b, err := io.ReadAll(s)
	require.ErrorIs(t, err, network.ErrReset)
	require.Empty(t, b)
}

func open(t *testing.T, h host.Host, id peer.ID, p protocol.ID) network.Stream {
	t.Helper()
	s, err := h.NewStream(t.Context(), id, p)
	require.NoError(t, err)
	return s
}

// Names are never on the wire: whose name a node goes by is what the configuration of whoever listens says of its key.
func TestAStrangerIsResetBeforeAnythingOfItIsRead(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	in, profiles := subscribe(t, alice, transports.Inbox), watch(t, alice)
	mallory := bare(t, "mallory") // by whatever name: its key is not listed
	id := reach(t, mallory, alice)
	for _, p := range []protocol.ID{"/weft/direct/1", "/weft/profile/1"} {
		isReset(t, open(t, mallory, id, p)) // who says nothing at all
	}

	s := open(t, mallory, id, "/weft/direct/1")
	_, _ = s.Write(append([]byte{7, 0}, frameBytes("bob-1", "as if of bob")...))
	isReset(t, s)
	for _, signer := range []string{"bob", "mallory"} { // another's record, that is genuine, and its own
		signed := kademlia.SignRecord(keyOf(signer), 1<<40, []byte("shown by mallory"))
		s := open(t, mallory, id, "/weft/profile/1")
		_, _ = s.Write(append(binary.AppendUvarint(nil, uint64(len(signed))), signed...))
		isReset(t, s)
	}

	bob := start(t, m.node(t, "bob"))
	announce(t, bob, "of bob")
	sent := sendTo(t.Context(), bob, "alice", 1)
	got := receive(t, in)
	require.Equal(t, "1", string(got.Payload), "the first frame that alice gets")
	got.Ack()
	require.NoError(t, result(t, sent))
	require.Equal(t, transports.Announcement{Node: "bob", Profile: []byte("of bob")}, <-profiles, "the first profile that alice sees")
}

// sendTo sends a frame to a peer.
func sendTo(ctx context.Context, node *kademlia.Transport, to string, n int) <-chan error {
	m := numbered(n)
	m.SetContext(ctx)
	return node.Send(transports.Direct(to), m)
}

// Two nodes go by the name bob. Which of them is meant?
func TestTwoKeysUnderOneNameAreTwoNodes(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	in, profiles := subscribe(t, alice, transports.Inbox), watch(t, alice)

	c := m.config(t, "bob")
	c.Key = func() (ed25519.PrivateKey, error) { return keyOf("another bob"), nil }
	c.DataDir = t.TempDir()
	impostor := start(t, build(t, c))
	announce(t, impostor, "of the impostor")
	refused := sendTo(t.Context(), impostor, "alice", 666)
	eventually(t, "the impostor is connected, and told why it is not heard", func() bool {
		for _, p := range impostor.Mesh().Peers {
			if p.Peer == "alice" {
				return p.Address != "" && strings.Contains(p.Trouble, "refuses")
			}
		}
		return false
	})

	bob := start(t, m.node(t, "bob"))
	announce(t, bob, "of bob")
	sent := sendTo(t.Context(), bob, "alice", 1)
	got := receive(t, in)
	require.Equal(t, "1", string(got.Payload))
	got.Ack()
	require.NoError(t, result(t, sent))
	see(t, profiles, "bob", "of bob")

	m2 := sendTo(t.Context(), alice, "bob", 2)
	at := receive(t, subscribe(t, bob, transports.Inbox))
	at.Ack()
	require.NoError(t, result(t, m2))
	select {
	case err := <-refused:
		t.Errorf("the impostor's frame: %v", err)
	case got := <-in:
		t.Errorf("frame %q came", got.Payload)
	default:
	}
}

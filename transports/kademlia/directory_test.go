package kademlia_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	dhtpb "github.com/libp2p/go-libp2p-kad-dht/pb"
	recordpb "github.com/libp2p/go-libp2p-record/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

func watch(t *testing.T, node *kademlia.Transport) <-chan transports.Announcement {
	t.Helper()
	profiles, err := node.Watch(t.Context())
	require.NoError(t, err)
	return profiles
}

func announce(t *testing.T, node *kademlia.Transport, profile string) {
	t.Helper()
	require.NoError(t, node.Announce(t.Context(), []byte(profile)))
}

// ask asks a node of the directory. The error is that of a node that refuses.
func ask(t *testing.T, h host.Host, id peer.ID, question *dhtpb.Message) (answer *dhtpb.Message, err error) {
	t.Helper()
	s, err := h.NewStream(t.Context(), id, "/weft/weft/kad/1.0.0")
	require.NoError(t, err)
	defer s.Reset()
	b, err := proto.Marshal(question)
	require.NoError(t, err)
	if _, err := s.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(s)
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	b = make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	answer = new(dhtpb.Message)
	return answer, proto.Unmarshal(b, answer)
}

func put(t *testing.T, h host.Host, id peer.ID, key string, value []byte) error {
	t.Helper()
	_, err := ask(t, h, id, &dhtpb.Message{
		Type: dhtpb.Message_PUT_VALUE, Key: []byte(key), Record: &recordpb.Record{Key: []byte(key), Value: value},
	})
	return err
}

// kept returns what a node of the directory keeps under the key.
func kept(t *testing.T, h host.Host, id peer.ID, key string) []byte {
	t.Helper()
	answer, err := ask(t, h, id, &dhtpb.Message{Type: dhtpb.Message_GET_VALUE, Key: []byte(key)})
	require.NoError(t, err)
	return answer.GetRecord().GetValue()
}

// The record that a node announces as soon as it runs is in the directory before it knows anybody: it was put there only with the next refresh.
func TestAProfileIsFoundThoughItsNodeHasGone(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	announce(t, alice, "early")
	asker := bare(t, "asker")
	lighthouse, err := peer.AddrInfoFromString(m.bootstrap)
	require.NoError(t, err)
	require.NoError(t, asker.Connect(t.Context(), *lighthouse))
	eventually(t, "the record is in the directory", func() bool {
		return kept(t, asker, lighthouse.ID, kademlia.RecordKey(idOf(t, "alice"))) != nil
	})
	require.NoError(t, alice.Close())
	see(t, watch(t, start(t, m.node(t, "bob"))), "alice", "early")
}

func TestAPeerThatWasRestartedIsShownTheProfileAgain(t *testing.T) {
	m := newMesh(t)
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob"))
	announce(t, alice, "once")
	see(t, watch(t, bob), "alice", "once")
	for range 2 {
		require.NoError(t, bob.Close())
		bob = start(t, m.node(t, "bob"))
		see(t, watch(t, bob), "alice", "once")
	}
}

func TestAProfileThatIsTooLargeForTheDirectoryIsShownToConnectedPeers(t *testing.T) {
	m := newMesh(t)
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob"))
	profiles := watch(t, bob)
	announce(t, alice, "small")
	see(t, profiles, "alice", "small")
	for _, size := range []int{kademlia.MaxRecord, transports.MaxProfile} {
		large := strings.Repeat("x", size)
		announce(t, alice, large)
		see(t, profiles, "alice", large)
	}
	err := alice.Announce(t.Context(), make([]byte, transports.MaxProfile+1))
	require.True(t, transports.IsPermanent(err))
}

// show sends a record as a peer does, and returns the number that the node knows then.
func show(t *testing.T, h host.Host, id peer.ID, signed []byte) (known uint64, err error) {
	t.Helper()
	s, err := h.NewStream(t.Context(), id, "/weft/profile/1")
	require.NoError(t, err)
	defer s.Reset()
	if _, err := s.Write(append(binary.AppendUvarint(nil, uint64(len(signed))), signed...)); err != nil {
		return 0, err
	}
	return binary.ReadUvarint(bufio.NewReader(s))
}

func TestAPeerShowsOnlyItsOwnNewerRecords(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	profiles := watch(t, alice)
	bob := bare(t, "bob") // its key is listed
	id := reach(t, bob, alice)
	known, err := show(t, bob, id, kademlia.SignRecord(keyOf("bob"), 5, []byte("five")))
	require.NoError(t, err)
	require.EqualValues(t, 5, known)
	see(t, profiles, "bob", "five")

	for name, record := range map[string][]byte{
		"another's record":        kademlia.SignRecord(keyOf("carol"), 9, []byte("of carol")),
		"a stranger's record":     kademlia.SignRecord(keyOf("mallory"), 9, []byte("of mallory")),
		"a changed one":           append(kademlia.SignRecord(keyOf("bob"), 9, []byte("nine")), 0),
		"10 MB":                   kademlia.SignRecord(keyOf("bob"), 9, make([]byte, 10<<20)),
		"more than a profile has": kademlia.SignRecord(keyOf("bob"), 9, make([]byte, transports.MaxProfile+kademlia.MaxRecord)),
		"nothing":                 nil,
	} {
		_, err := show(t, bob, id, record)
		require.True(t, errors.Is(err, network.ErrReset), "%s: %v", name, err)
	}
	known, err = show(t, bob, id, kademlia.SignRecord(keyOf("bob"), 4, []byte("four"))) // replayed
	require.NoError(t, err)
	require.EqualValues(t, 5, known)
	known, err = show(t, bob, id, kademlia.SignRecord(keyOf("bob"), 6, []byte("six")))
	require.NoError(t, err)
	require.EqualValues(t, 6, known)
	select {
	case a := <-profiles:
		require.Equal(t, transports.Announcement{Node: "bob", Profile: []byte("six")}, a)
	case <-t.Context().Done():
	}
}

func TestTheDirectoryKeepsNothingButRecordsOfNodes(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	mallory := bare(t, "mallory")
	id := reach(t, mallory, alice)
	of := func(name string) string { return kademlia.RecordKey(idOf(t, name)) }
	signed := func(name string, seq uint64, size int) []byte {
		return kademlia.SignRecord(keyOf(name), seq, make([]byte, size))
	}
	most := kademlia.MaxRecord - len(signed("mallory", 1, 0))

	for name, c := range map[string]struct {
		key   string
		value []byte
	}{
		"another namespace":           {"/pk/" + string(idOf(t, "mallory")), []byte("x")},
		"another namespace, ours":     {"/ipns/" + idOf(t, "mallory").String(), signed("mallory", 1, 1)},
		"no namespace":                {"x", signed("mallory", 1, 1)},
		"no node":                     {"/weft/x", signed("mallory", 1, 1)},
		"a node, and more":            {of("mallory") + "/x", signed("mallory", 1, 1)},
		"the node in another writing": {"/weft/" + peer.ToCid(idOf(t, "mallory")).String(), signed("mallory", 1, 1)},
		"forged":                      {of("bob"), signed("mallory", 1, 1)},
		"of another node":             {of("mallory"), signed("bob", 1, 1)},
		"cut off":                     {of("mallory"), signed("mallory", 1, 9)[:50]},
		"empty":                       {of("mallory"), nil},
		"a byte too large":            {of("mallory"), signed("mallory", 1, most+1)},
		"10 MB":                       {of("mallory"), signed("mallory", 1, 10<<20)},
	} {
		require.Error(t, put(t, mallory, id, c.key, c.value), name)
		if answer, err := ask(t, mallory, id, &dhtpb.Message{Type: dhtpb.Message_GET_VALUE, Key: []byte(c.key)}); err == nil {
			require.Nil(t, answer.GetRecord(), name)
		}
	}

	newer := signed("bob", 7, 1)
	require.NoError(t, put(t, mallory, id, of("bob"), newer), "anybody passes on what its node has signed")
	require.Error(t, put(t, mallory, id, of("bob"), signed("bob", 6, 1)), "an older one")
	require.Equal(t, newer, kept(t, mallory, id, of("bob")))
	require.NoError(t, put(t, mallory, id, of("mallory"), signed("mallory", 1, most)))
}

package kademlia_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/ipfs/go-datastore"
	dhtpb "github.com/libp2p/go-libp2p-kad-dht/pb"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// A stranger opens a thousand streams of every protocol and a thousand connections, says half of something on each, and holds them.
func TestAFloodOfStrangersCostsLittleAndPeersNothing(t *testing.T) {
	m := newMesh(t)
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob"))
	require.NoError(t, exchange(t, bob, alice))
	mallory := bare(t, "mallory")
	id := reach(t, mallory, alice)
	before := runtime.NumGoroutine()

	held := 0
	for _, p := range []protocol.ID{"/weft/direct/1", "/weft/profile/1", "/weft/log/1", "/weft/weft/kad/1.0.0", "/meshsub/1.2.0"} {
		for range 1000 {
			s, err := mallory.Network().NewStream(t.Context(), id)
			if err != nil {
				continue
			}
			_ = s.SetProtocol(p)
			if _, err := fmt.Fprintf(s, "\x13/multistream/1.0.0\n%c%s\n\x80", len(p)+1, p); err == nil {
				held++
			}
		}
	}
	addr, err := peer.AddrInfoFromString(alice.Addresses()[0])
	require.NoError(t, err)
	port, err := addr.Addrs[0].ValueForProtocol(multiaddr.P_TCP)
	require.NoError(t, err)
	for range 1000 {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		defer c.Close()
		_, _ = c.Write([]byte("\x13/multistream"))
	}
	require.NotZero(t, held)
	require.NoError(t, exchange(t, bob, alice), "a listed peer that is connected")
	eventually(t, "what is left of the flood is bounded, in all hosts of the test", func() bool { return runtime.NumGoroutine()-before < 1000 })

	carol := start(t, m.node(t, "carol"))
	announce(t, carol, "of carol")
	see(t, watch(t, alice), "carol", "of carol")
	require.NoError(t, exchange(t, carol, alice), "a listed peer that connects now")
}

// A listed peer opens a thousand streams that carry frames: the last one counts, and its frames arrive.
func TestAPeerThatOpensManyStreamsHasOne(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	in := subscribe(t, alice, transports.Inbox)
	bob := bare(t, "bob")
	id := reach(t, bob, alice)
	before := runtime.NumGoroutine()
	for range 1000 {
		s, err := bob.NewStream(t.Context(), id, "/weft/direct/1")
		if err != nil {
			continue
		}
		_, _ = s.Write([]byte{7, 0})
	}
	eventually(t, "what is left of a thousand streams is a few", func() bool { return runtime.NumGoroutine()-before < 100 })
	eventually(t, "a frame over one stream more", func() bool {
		s, err := bob.NewStream(t.Context(), id, "/weft/direct/1")
		if err != nil {
			return false
		}
		defer s.Reset()
		if _, err = s.Write(append([]byte{8, 0}, frameBytes("a", "b")...)); err != nil {
			return false
		}
		_, err = s.Read(make([]byte, 1)) // the hello is answered
		if err != nil {
			return false
		}
		receive(t, in).Ack()
		return true
	})
}

func TestTheDirectoryOfANodeIsBounded(t *testing.T) {
	const most = 1 << 20
	s := kademlia.NewShelf(most)
	ctx := context.Background()
	for i := range 20000 {
		key := datastore.NewKey(fmt.Sprintf("/providers/%d/%s", i, strings.Repeat("x", 100)))
		require.NoError(t, s.Put(ctx, key, make([]byte, i%2000)))
		if i%100 == 0 {
			require.LessOrEqual(t, kademlia.ShelfBytes(s), most)
		}
		_, err := s.Get(ctx, key)
		require.NoError(t, err, "what came last is there")
		if i%7 == 0 {
			require.NoError(t, s.Put(ctx, key, make([]byte, 10)))
			require.NoError(t, s.Delete(ctx, key))
			require.NoError(t, s.Delete(ctx, key))
		}
	}
	require.LessOrEqual(t, kademlia.ShelfBytes(s), most)
	require.Greater(t, kademlia.ShelfBytes(s), most/2)
}

// Whoever floods the directory with feeds that it follows, or says that others do, takes nobody's record away.
func TestAFloodOfFollowersLeavesRecordsAlone(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	mallory := bare(t, "mallory")
	id := reach(t, mallory, alice)
	key := kademlia.RecordKey(idOf(t, "bob"))
	record := kademlia.SignRecord(keyOf("bob"), 1, []byte("bob"))
	require.NoError(t, put(t, mallory, id, key, record))

	s, err := mallory.NewStream(t.Context(), id, "/weft/weft/kad/1.0.0")
	require.NoError(t, err)
	followers := dhtpb.PeerInfosToPBPeers(mallory.Network(), []peer.AddrInfo{{ID: mallory.ID(), Addrs: mallory.Addrs()}})
	for i := range 3000 {
		sum, err := multihash.Sum(binary.AppendUvarint(nil, uint64(i)), multihash.SHA2_256, -1)
		require.NoError(t, err)
		b, err := proto.Marshal(&dhtpb.Message{Type: dhtpb.Message_ADD_PROVIDER, Key: sum, ProviderPeers: followers})
		require.NoError(t, err)
		if _, err := s.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...)); err != nil {
			break
		}
	}
	_ = s.Close()
	require.Equal(t, record, kept(t, mallory, id, key))

	others := dhtpb.PeerInfosToPBPeers(mallory.Network(), []peer.AddrInfo{{ID: idOf(t, "bob"), Addrs: mallory.Addrs()}})
	sum, err := multihash.Sum([]byte("of bob"), multihash.SHA2_256, -1)
	require.NoError(t, err)
	_, err = ask(t, mallory, id, &dhtpb.Message{Type: dhtpb.Message_ADD_PROVIDER, Key: sum, ProviderPeers: others})
	require.Error(t, err)
	answer, err := ask(t, mallory, id, &dhtpb.Message{Type: dhtpb.Message_GET_PROVIDERS, Key: sum})
	require.NoError(t, err)
	require.Empty(t, answer.GetProviderPeers(), "followers that mallory names")
}

func TestWhyAPeerIsNotReachedIsSaidPlainly(t *testing.T) {
	m := &mesh{names: []string{"bob"}, dirs: map[string]string{}}
	other := start(t, (&mesh{dirs: map[string]string{}}).node(t, "carol"))
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := refusing.Addr().(*net.TCPAddr).Port
	require.NoError(t, refusing.Close())
	for name, c := range map[string]struct{ addr, want string }{
		"nobody listens":      {fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", closed), "connection refused"},
		"another node":        {port(other), "the node there has another key (it is " + idOf(t, "carol").String() + ")"},
		"the own ID":          {"own", "a bootstrap or relay address ends in the ID of this node itself"},
		"no address is known": {"", "no address is known, and no node is connected that could know one"},
	} {
		t.Run(name, func(t *testing.T) {
			config := m.config(t, "alice")
			config.DataDir = t.TempDir()
			switch c.addr {
			case "":
			case "own":
				config.Bootstrap = []string{port(other) + "/p2p/" + idOf(t, "alice").String()}
			default:
				config.Bootstrap = []string{c.addr + "/p2p/" + idOf(t, "bob").String()}
			}
			alice := start(t, build(t, config))
			var trouble string
			eventually(t, "the reason is said", func() bool {
				trouble = alice.Mesh().Peers[0].Trouble
				return trouble != ""
			})
			require.Contains(t, trouble, c.want)
			require.NotContains(t, trouble, "\n")
			require.Contains(t, alice.Report().Detail, c.want)
			_, err := alice.Ping(t.Context(), "bob")
			require.ErrorContains(t, err, c.want)
		})
	}
}

// A stranger listens to what nobody here gossips about, which could be any number of topics.
func TestOnlyTopicsOfFollowedFeedsAreRemembered(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	mallory := bare(t, "mallory")
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	gossip, err := pubsub.NewGossipSub(ctx, mallory, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign))
	require.NoError(t, err)
	reach(t, mallory, alice)
	feed, other := alice.FeedTopic(idOf(t, "alice")), strings.Repeat("x", 1000)
	for _, name := range []string{other, feed} {
		topic, err := gossip.Join(name)
		require.NoError(t, err)
		_, err = topic.Subscribe()
		require.NoError(t, err)
		if name == feed {
			eventually(t, "mallory listens to alice's feed", func() bool { return len(alice.Listeners(feed)) > 0 })
		}
	}
	require.Empty(t, alice.Listeners(other))
}

// Strangers ask for a feed as often as they may, and say only half of the question. A peer asks.
func TestStrangersLeaveRoomForPeersWhoFetchAFeed(t *testing.T) {
	m := newMesh(t)
	alice := start(t, m.node(t, "alice"))
	for i := range 8 {
		mallory := bare(t, fmt.Sprintf("mallory%d", i))
		id := reach(t, mallory, alice)
		for range 4 {
			s, err := mallory.NewStream(t.Context(), id, "/weft/log/1")
			require.NoError(t, err)
			_, _ = s.Write([]byte{0x80})
		}
	}
	bob := bare(t, "bob")
	s := open(t, bob, reach(t, bob, alice), "/weft/log/1")
	id := idOf(t, "alice")
	_, err := s.Write(append(binary.AppendUvarint(nil, uint64(len(id))), string(id)+"\x01"...))
	require.NoError(t, err)
	_, err = s.Read(make([]byte, 1))
	require.NoError(t, err)
}

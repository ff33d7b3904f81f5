package kademlia_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// feedDir is where a node keeps the feed of an origin.
func (m *mesh) feedDir(t *testing.T, node, origin string) string {
	t.Helper()
	return filepath.Join(m.dirs[node], "feeds", idOf(t, origin).String())
}

// epochOf returns the epoch of a node's own feed.
func (m *mesh) epochOf(t *testing.T, name string) uint64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.feedDir(t, name, name), "epoch"))
	require.NoError(t, err)
	epoch, err := strconv.ParseUint(string(text), 10, 64)
	require.NoError(t, err)
	return epoch
}

// missing makes bob miss the frames 3 to 5 of alice, who has gone when it comes back.
func (m *mesh) missing(t *testing.T) (bob *kademlia.Transport) {
	t.Helper()
	alice, bob := start(t, m.node(t, "alice")), start(t, m.node(t, "bob", "alice"))
	frames := subscribe(t, bob, transports.Feed)
	follows(t, bob, "alice")
	broadcast(t, alice, "alice", 1, 2, 0)
	heard(t, frames, "alice", 1, 2)
	require.NoError(t, bob.Close())
	broadcast(t, alice, "alice", 3, 5, 0)
	require.NoError(t, alice.Close())
	return start(t, m.node(t, "bob", "alice"))
}

// listener is a host that listens to alice's feed, and answers who asks for it as the test says.
func listener(t *testing.T, node *kademlia.Transport, answer network.StreamHandler) host.Host {
	t.Helper()
	h := bare(t, "mallory")
	h.SetStreamHandler("/weft/log/1", answer)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	gossip, err := pubsub.NewGossipSub(ctx, h, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign))
	require.NoError(t, err)
	topic, err := gossip.Join(node.FeedTopic(idOf(t, "alice")))
	require.NoError(t, err)
	_, err = topic.Subscribe()
	require.NoError(t, err)
	reach(t, h, node)
	return h
}

// Anybody who listens to a feed is asked for what is missing while its origin is away. Can he keep it from a follower?
func TestWhoAnswersWrongForAFeedLosesNothingOfIt(t *testing.T) {
	numbers := func(all ...uint64) (b []byte) {
		for _, n := range all {
			b = binary.AppendUvarint(b, n)
		}
		return b
	}
	sized := func(b []byte) []byte { return append(numbers(uint64(len(b))), b...) }
	entry := func(epoch, number uint64) []byte {
		return sized(kademlia.SignEntry(keyOf("alice"), epoch, number, fmt.Sprintf("alice-%d", number), []byte("alice")))
	}
	for name, say := range map[string]func(s io.Writer, epoch uint64) error{
		"what is missing is gone": func(s io.Writer, epoch uint64) error {
			_, err := s.Write(numbers(epoch, 1<<40, 1<<40+1, 0))
			return err
		},
		"one entry for ever": func(s io.Writer, epoch uint64) error {
			_, err := s.Write(numbers(epoch, 1, 6))
			for one := entry(epoch, 1); err == nil; {
				_, err = s.Write(one)
			}
			return err
		},
		"a notice in place of an entry, for ever": func(s io.Writer, epoch uint64) error {
			_, err := s.Write(numbers(epoch, 1, 6))
			for one := sized(kademlia.SignEntry(keyOf("alice"), epoch, 3, "", nil)); err == nil; {
				_, err = s.Write(one)
			}
			return err
		},
		"the largest entry, slowly": func(s io.Writer, epoch uint64) error {
			_, err := s.Write(append(numbers(epoch, 1, 6), numbers(kademlia.MaxFrame)...))
			for piece := make([]byte, 64<<10); err == nil; time.Sleep(kademlia.StallTime / 4) { // as slowly as is allowed, and some
				_, err = s.Write(piece)
			}
			return err
		},
		"half": func(s io.Writer, epoch uint64) error {
			_, err := s.Write(append(numbers(epoch, 1, 6), entry(epoch, 1)[:50]...))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			bob := m.missing(t)
			epoch := m.epochOf(t, "alice")
			frames := subscribe(t, bob, transports.Feed)
			var asked atomic.Int32
			listener(t, bob, func(s network.Stream) {
				defer s.Reset()
				_, _ = s.Read(make([]byte, 100))
				asked.Add(1)
				if say(s, epoch) == nil {
					_ = s.CloseWrite()
					_, _ = io.Copy(io.Discard, s)
				}
			})
			eventually(t, "he is asked", func() bool { return asked.Load() > 0 })
			start(t, m.node(t, "alice"))
			heard(t, frames, "alice", 3, 5)
		})
	}
}

// Carol began to follow when what bob lacks was out already. While alice is away she has nothing of it: is it gone for bob?
func TestWhatAnotherFollowerNeverHadComesFromTheOrigin(t *testing.T) {
	m := newMesh(t)
	bob := m.missing(t)
	require.NoError(t, bob.Close())
	alice, carol := start(t, m.node(t, "alice")), start(t, m.node(t, "carol", "alice"))
	follows(t, carol, "alice")
	broadcast(t, alice, "alice", 6, 8, 0)
	heard(t, subscribe(t, carol, transports.Feed), "alice", 6, 8)
	require.NoError(t, alice.Close())
	bob = start(t, m.node(t, "bob", "alice"))
	frames := subscribe(t, bob, transports.Feed)
	eventually(t, "carol has answered", func() bool {
		return metric(bob.Metrics(), "mesh_received_bytes_total", "/weft/log/1") > 0
	})
	start(t, m.node(t, "alice"))
	heard(t, frames, "alice", 3, 8)
}

// When a node starts, no origin is connected yet. Does it ask the directory who else has each feed?
func TestFollowersAreLookedUpOnceTheOriginWasSoughtInVain(t *testing.T) {
	bob := start(t, newMesh(t).node(t, "bob"))
	eventually(t, "bob has entered", func() bool { return figure(bob, "mesh_directory_nodes") > 0 })
	for _, lost := range []bool{false, true} {
		require.Equal(t, lost, kademlia.AsksForFollowers(t.Context(), bob, "alice", lost))
	}
}

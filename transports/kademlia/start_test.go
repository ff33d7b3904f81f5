package kademlia_test

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

func TestNothingIsLeftOfAStartThatFails(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, c *kademlia.Config){
		"an address of another machine": func(t *testing.T, c *kademlia.Config) {
			c.Listen, c.PortMapping = []string{"/ip4/192.0.2.1/tcp/1"}, false
		},
		"feeds cannot be kept": func(t *testing.T, c *kademlia.Config) {
			require.NoError(t, os.WriteFile(filepath.Join(c.DataDir, "feeds"), nil, 0o600))
		},
		"the last feed cannot be kept": func(t *testing.T, c *kademlia.Config) {
			c.Follow = []string{"bob", "carol"}
			dir := filepath.Join(c.DataDir, "feeds")
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, idOf(t, "carol").String()), nil, 0o600))
		},
		"own key in peers": func(t *testing.T, c *kademlia.Config) {
			c.Peers = append(c.Peers, kademlia.Peer{Name: "me", Key: keyOf("alice").Public().(ed25519.PublicKey)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			c := (&mesh{names: []string{"alice", "bob", "carol"}, dirs: map[string]string{}}).config(t, "alice")
			spoil(t, &c)
			node, err := kademlia.New(c, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			require.Error(t, node.Start(t.Context()))
			require.NoError(t, node.Close())
			_, err = node.Subscribe(t.Context(), transports.Inbox)
			require.Error(t, err)
		})
	}
}

func TestATransportIsStartedOnceAndWhatItDoesNotDoBeforeIsAnError(t *testing.T) {
	noLeaks(t)
	m := &mesh{names: []string{"bob"}, dirs: map[string]string{}}
	c := m.config(t, "alice")
	c.Follow = []string{"bob"}
	node, err := kademlia.New(c, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	idle := func() {
		for _, topic := range []string{transports.Inbox, transports.Feed} {
			_, err := node.Subscribe(t.Context(), topic)
			require.Error(t, err)
		}
		for _, topic := range []string{transports.Direct("bob"), transports.Broadcast} {
			require.Error(t, node.Publish(topic, numbered(1)))
		}
		require.Error(t, node.Announce(t.Context(), []byte("profile")))
		require.Empty(t, node.Mesh().Addresses)
		require.Equal(t, transports.Down, node.Report().State)
		require.Empty(t, node.Metrics())
		_, err := node.Ping(t.Context(), "bob")
		require.Error(t, err)
	}
	idle()
	require.NoError(t, node.Start(t.Context()))
	require.Error(t, node.Start(t.Context()), "a second time")
	require.NotEmpty(t, node.Mesh().Addresses, "and it runs on")
	require.NoError(t, node.Close())
	require.NoError(t, node.Close())
	require.Error(t, node.Start(t.Context()), "once more")
	idle()
}

// One list of nodes may be in the configuration of all of them.
func TestANodeMayBeInItsOwnBootstrap(t *testing.T) {
	m := &mesh{dirs: map[string]string{}}
	c := m.config(t, "alice")
	c.Bootstrap = []string{"/ip4/127.0.0.1/tcp/1/p2p/" + idOf(t, "alice").String()}
	node, err := kademlia.New(c, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	start(t, node)
}

func TestASecondSubscriptionBeginsWhereTheFirstEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := kademlia.Running(unstarted(t, "bob"))
		bob, ended := receiving(node)
		bob.put(t, 7, 0)
		require.Zero(t, bob.number(t))
		go drain(bob)
		bob.put(t, 1, 'a', 1, 'b', 1, 'c', 1, 'd')
		ctx, cancel := context.WithCancel(t.Context())
		first, err := node.Subscribe(ctx, transports.Inbox)
		require.NoError(t, err)
		held := <-first
		require.Equal(t, "b", string(held.Payload))

		ctx2, cancel2 := context.WithCancel(t.Context())
		second, err := node.Subscribe(ctx2, transports.Inbox)
		require.NoError(t, err)
		synctest.Wait()
		select {
		case m := <-second:
			t.Errorf("%s was handed out twice at a time", m.Payload)
		default:
		}
		cancel()
		for _, want := range []string{"b", "d"} {
			m := <-second
			require.Equal(t, want, string(m.Payload))
			m.Ack()
		}
		cancel2()
		_ = bob.Close()
		<-ended
		synctest.Wait()
	})
}

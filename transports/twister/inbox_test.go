package twister

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// A receipt and a frame to the same peer wait for posts: one post is enough for both.
func TestReceiptRidesOnAFrameThatWaits(t *testing.T) {
	w := newFeedWorld(t)
	require.NoError(t, makeFolder(w.bob))
	require.NoError(t, saveState(statePath(w.bob, "poster.json"), posterState{Next: 500, Last: -1}))
	b, _ := open(t, w.bob)
	inbox, err := b.Subscribe(t.Context(), transports.Inbox)
	require.NoError(t, err)
	m := message.NewMessage("uuid", []byte("frame"))
	m.Metadata.Set(transports.MetaPriority, fmt.Sprint(1<<30))
	m.SetContext(t.Context())
	spawn(t, func(context.Context) { _ = b.Publish(transports.Direct(alice), m) })
	eventually(t, "the frame waits", func() bool { return b.poster.trouble() != nil })
	whole := header{k: 0, piece: &piece{epoch: 1, number: 1, count: 1, data: []byte("x")}}
	_, err = newClient(t, w.atAlice).DirectMessage(t.Context(), alice, 0, bob, whole.text())
	require.NoError(t, err)
	next(t, inbox).Ack()
	eventually(t, "the receipt waits too", func() bool {
		b.poster.mu.Lock()
		defer b.poster.mu.Unlock()
		return b.poster.queue.len() == 2
	})
	b.poster.mu.Lock()
	first := b.poster.queue.first().post
	b.poster.mu.Unlock()
	h, err := parsePiece(first.text(500))
	require.NoError(t, err)
	require.NotNil(t, h.receipt)
	require.NotNil(t, h.piece)
}

// An inbox that is full for a moment, in the middle of a list.
func TestSeedMessagesKeepTheirOrderWhereThereWasNoRoom(t *testing.T) {
	n, err := New(Config{User: bob, Peers: []string{alice}, URL: "http://a:b@127.0.0.1:1", DataDir: t.TempDir()}, quietLog())
	require.NoError(t, err)
	p, l := n.peers[alice], &list{own: kset{most: maxSeen}, starved: true}
	text := func(k int) rpc.Message { return rpc.Message{From: alice, K: k, Text: seedOf("1")} }
	require.Equal(t, 2, n.readEntries(p, l, []rpc.Message{text(7), text(8)}), "they are looked at")
	require.Empty(t, p.origin.ready, "and left, for one before them had no room")
	l.starved = false
	n.readEntries(p, l, []rpc.Message{text(6), text(7), text(8)})
	require.Len(t, p.origin.ready, 3)
	for i, it := range p.origin.ready {
		require.Equal(t, []int{6 + i}, it.ks)
	}
}

// What was delivered of a peer who is no peer for a while is not delivered again.
func TestPeerWhoIsPutBackSendsNothingTwice(t *testing.T) {
	c := Config{User: bob, Peers: []string{alice}, URL: "http://a:b@127.0.0.1:1", DataDir: t.TempDir(), Poll: time.Millisecond, Second: time.Millisecond}
	for _, peers := range [][]string{{alice}, {"mqtt_carol"}, {alice}} {
		c.Peers, c.Feeds = peers, nil
		n, err := New(c, quietLog())
		require.NoError(t, err)
		require.NoError(t, n.Start(t.Context()))
		o := n.peers[peers[0]].origin
		if o.fresh(5) {
			o.ignore(5)
		} else {
			require.Equal(t, alice, peers[0])
		}
		require.NoError(t, n.Close())
	}
	n, err := New(c, quietLog())
	require.NoError(t, err)
	require.NoError(t, makeFolder(c))
	require.NoError(t, n.load())
	require.False(t, n.peers[alice].origin.fresh(5))
	require.Contains(t, n.strangers, "mqtt_carol")
}

package kademlia_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// The tests of this file that run in a bubble give a node its streams through a pipe, and play the peer byte by byte: what they are about
// happens at a moment that real links do not choose.

// player is the other side of a stream.
type player struct {
	net.Conn
	r *bufio.Reader
}

func newPlayer(c net.Conn) *player { return &player{c, bufio.NewReader(c)} }

func (p *player) number(t *testing.T) uint64 {
	t.Helper()
	n, err := binary.ReadUvarint(p.r)
	require.NoError(t, err)
	return n
}

func (p *player) put(t *testing.T, b ...byte) {
	t.Helper()
	_, err := p.Write(b)
	require.NoError(t, err)
}

// receiving gives the node a stream of bob, and returns bob's side of it. It ends when that is closed.
func receiving(node *kademlia.Transport) (bob *player, ended <-chan error) {
	here, there := net.Pipe()
	done := make(chan error, 1)
	go func() {
		err := kademlia.ReceiveDirect(node, "bob", here)
		_ = here.Close()
		done <- err
	}()
	return newPlayer(there), done
}

// inbox subscribes as long as the bubble lasts.
func inbox(t *testing.T, node *kademlia.Transport) (frames <-chan string, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	in, err := kademlia.Inbox(ctx, node)
	require.NoError(t, err)
	out := make(chan string, 1000)
	go func() {
		defer close(out)
		for m := range in {
			out <- string(m.Payload)
			m.Ack()
		}
	}()
	return out, func() {
		cancel()
		for range out { //nolint:revive // until it is closed
		}
	}
}

// The frame was taken after its stream had broken: no other stream ever told so, and the sender waited until its deadline, every time.
func TestAConfirmationThatBrokeOffWithItsStreamIsRepeatedOnTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := unstarted(t, "bob")
		bob, ended := receiving(node)
		bob.put(t, 7, 0)
		require.Zero(t, bob.number(t))
		bob.put(t, 1, 'a', 1, 'b')
		synctest.Wait()
		_ = bob.Close()
		require.Error(t, <-ended)

		frames, end := inbox(t, node)
		require.Equal(t, "b", <-frames)
		synctest.Wait()

		bob, ended = receiving(node)
		bob.put(t, 7, 0)
		require.EqualValues(t, 1, bob.number(t), "received")
		told := make(chan uint64, 1)
		go func() { told <- bob.number(t) }()
		select {
		case n := <-told:
			require.EqualValues(t, 1, n, "taken")
		case <-time.After(kademlia.StallTime):
			t.Error("the sender is not told that its frame was taken")
		}
		_ = bob.Close()
		<-ended
		end()
	})
}

// A large frame over a slow link takes longer than the sender waits for a sign of life.
func TestTheRecipientLivesWhileAFrameIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := unstarted(t, "bob")
		bob, ended := receiving(node)
		bob.put(t, 7, 0)
		require.Zero(t, bob.number(t))
		bob.put(t, 1, 'a', 0xff, 0xff, 3) // 65535 bytes
		lives := make(chan uint64, 1)
		go func() { lives <- bob.number(t) }()
		go func() { _, _ = bob.Write(make([]byte, 1000)) }()
		select {
		case n := <-lives:
			require.Zero(t, n)
		case <-time.After(kademlia.StallTime - time.Second):
			t.Error("no sign of life")
		}
		_ = bob.Close()
		<-ended
	})
}

var _ = transports.Inbox

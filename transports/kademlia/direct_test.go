package kademlia_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
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
	in, err := kademlia.Running(node).Subscribe(ctx, transports.Inbox)
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
		for range out {
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

// delivering gives the node a stream to bob, and returns bob's side of it, who has received so many frames.
func delivering(t *testing.T, node *kademlia.Transport, confirmed, received uint64) (bob *player, ended <-chan error) {
	t.Helper()
	here, there := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- kademlia.Deliver(node, "bob", here) }()
	bob = newPlayer(there)
	bob.number(t) // session
	require.Equal(t, confirmed, bob.number(t), "confirmed")
	bob.put(t, binary.AppendUvarint(nil, received)...)
	return bob, done
}

// frame reads a frame.
func (p *player) frame(t *testing.T) (payload string) {
	t.Helper()
	for range 2 {
		b := make([]byte, p.number(t))
		_, err := io.ReadFull(p.r, b)
		require.NoError(t, err)
		payload = string(b)
	}
	return payload
}

// send sends frames to bob, that are given up when the context ends.
func send(ctx context.Context, node *kademlia.Transport, frames ...int) (sent []<-chan error) {
	for _, n := range frames {
		m := numbered(n)
		m.SetContext(ctx)
		sent = append(sent, node.Send(transports.Direct("bob"), m))
	}
	return sent
}

func TestFramesGoOnWhereTheLastStreamBrokeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := kademlia.Running(unstarted(t, "bob"))
		sent := send(t.Context(), node, 1, 2, 3, 4)
		bob, ended := delivering(t, node, 0, 0)
		for _, payload := range []string{"1", "2", "3"} {
			require.Equal(t, payload, bob.frame(t))
		}
		bob.put(t, 1)
		require.NoError(t, <-sent[0])
		_ = bob.Close()
		require.Error(t, <-ended)

		bob, ended = delivering(t, node, 1, 2) // the third was lost on the way
		require.Equal(t, "3", bob.frame(t))
		require.Equal(t, "4", bob.frame(t))
		bob.put(t, 4)
		for _, s := range sent[1:] {
			require.NoError(t, <-s)
		}
		_ = bob.Close()
		<-ended
	})
}

func TestARecipientThatWasRestartedGetsWhatItHadInHandAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := kademlia.Running(unstarted(t, "bob"))
		sent := send(t.Context(), node, 1, 2, 3)
		bob, ended := delivering(t, node, 0, 0)
		for range 3 {
			bob.frame(t)
		}
		bob.put(t, 1)
		require.NoError(t, <-sent[0])
		_ = bob.Close()
		<-ended

		bob, ended = delivering(t, node, 1, 1) // it knows of none but what the sender knows to be taken
		require.Equal(t, "2", bob.frame(t))
		require.Equal(t, "3", bob.frame(t))
		_ = bob.Close()
		<-ended
	})
}

// None that was sent after a frame that is given up is taken without it: not those behind it, nor one that waits for room meanwhile.
func TestAFrameThatIsGivenUpTakesAllBehindItAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := kademlia.Running(unstarted(t, "bob"))
		begun := send(t.Context(), node, 1)
		bob, ended := delivering(t, node, 0, 0)
		require.Equal(t, "1", bob.frame(t)) // and then bob reads no more
		synctest.Wait()

		ctx, cancel := context.WithCancel(t.Context())
		first := send(ctx, node, 2)
		var behind []<-chan error
		for n := 3; n <= kademlia.WindowFrames; n++ {
			behind = append(behind, send(t.Context(), node, n)...)
		}
		waiting := make(chan error, 1)
		go func() { waiting <- <-send(t.Context(), node, 1000)[0] }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-first[0], context.Canceled)
		for _, s := range behind {
			require.ErrorContains(t, <-s, "given up")
		}
		require.ErrorContains(t, <-waiting, "given up")

		again := make(chan []<-chan error, 1)
		go func() { again <- send(t.Context(), node, 2, 3) }() // there is room once bob has confirmed
		count := 1
		for second := 0; second < 2; { // what was begun before it was given up, for bob may have had it, and then both again
			if count++; bob.frame(t) == "2" {
				second++
			}
			bob.put(t, byte(count))
		}
		require.Equal(t, "3", bob.frame(t))
		bob.put(t, byte(count+1))
		require.NoError(t, <-begun[0])
		for _, result := range <-again {
			require.NoError(t, <-result)
		}
		_ = bob.Close()
		<-ended
	})
}

func TestCloseEndsASenderThatWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := kademlia.Running(unstarted(t, "bob"))
		bob, ended := delivering(t, node, 0, 0)
		ctx := context.Background()
		for n := 1; n <= kademlia.WindowFrames; n++ {
			send(ctx, node, n)
			bob.frame(t) // all are begun: they cannot be taken back
		}
		waiting := make(chan error, 1)
		go func() { waiting <- <-send(ctx, node, 1000)[0] }()
		synctest.Wait()
		_ = bob.Close()
		<-ended
		kademlia.CloseOutbox(node, "bob")
		require.ErrorContains(t, <-waiting, "closed")
		require.ErrorContains(t, <-send(ctx, node, 1001)[0], "closed")
	})
}

func TestWhoeverConfirmsWhatWasNotSentIsNotBelieved(t *testing.T) {
	for name, lie := range map[string]func(t *testing.T, node *kademlia.Transport) <-chan error{
		"frames that do not exist": func(t *testing.T, node *kademlia.Transport) <-chan error {
			bob, ended := delivering(t, node, 0, 0)
			for range 3 {
				bob.frame(t)
			}
			bob.put(t, 4)
			return ended
		},
		"to have received one that waits": func(t *testing.T, node *kademlia.Transport) <-chan error {
			_, ended := delivering(t, node, 0, 3)
			return ended
		},
		"to have received more than there are": func(t *testing.T, node *kademlia.Transport) <-chan error {
			_, ended := delivering(t, node, 0, 1<<63)
			return ended
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				node := kademlia.Running(unstarted(t, "bob"))
				sent := send(t.Context(), node, 1, 2, 3)
				require.ErrorContains(t, <-lie(t, node), "were sent")
				bob, ended := delivering(t, node, 0, 0)
				for n, s := range sent {
					require.Equal(t, fmt.Sprint(n+1), bob.frame(t))
					bob.put(t, byte(n+1))
					require.NoError(t, <-s)
				}
				_ = bob.Close()
				<-ended
			})
		})
	}
}

func TestWhoeverNeverConfirmsLosesTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := kademlia.Running(unstarted(t, "bob"))
		bob, ended := delivering(t, node, 0, 0)
		for n := range 100 { // the deadline is set by two, in whatever order
			sent := send(t.Context(), node, n)
			require.Equal(t, fmt.Sprint(n), bob.frame(t))
			bob.put(t, byte(n+1))
			require.NoError(t, <-sent[0])
		}
		time.Sleep(24 * time.Hour) // nothing is owed
		send(t.Context(), node, 100)
		bob.frame(t)
		began := time.Now()
		require.ErrorContains(t, <-ended, "timeout")
		require.LessOrEqual(t, time.Since(began), kademlia.StallTime)
	})
}

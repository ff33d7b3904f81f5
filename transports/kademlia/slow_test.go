package kademlia_test

import (
	"encoding/binary"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/kademlia"
)

// trickle writes the bytes one at a time, with a pause after each, until the other side hangs up.
func trickle(c net.Conn, pause time.Duration, b []byte) {
	for _, one := range b {
		if _, err := c.Write([]byte{one}); err != nil {
			return
		}
		time.Sleep(pause) // of the bubble's clock
	}
}

// Does a peer that announces the largest frame and sends a byte now and then hold the stream for days?
func TestWhoeverTricklesIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		var trickling sync.WaitGroup
		trickling.Go(func() {
			_, _ = there.Write(binary.AppendUvarint(nil, kademlia.MaxFrame))
			trickle(there, kademlia.StallTime/3, make([]byte, 100))
		})
		began := time.Now()
		_, err := kademlia.ReadBytes(here, kademlia.MaxFrame)
		require.ErrorContains(t, err, "timeout")
		require.LessOrEqual(t, time.Since(began), kademlia.StallTime)
		_ = here.Close()
		trickling.Wait()
	})
}

// unstarted returns a node that lists the peers and is given its streams by the test.
func unstarted(t *testing.T, peers ...string) *kademlia.Transport {
	t.Helper()
	m := &mesh{names: peers, dirs: map[string]string{}}
	node, err := kademlia.New(m.config(t, "alice"), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return node
}

func TestHalfAFrameAndSilenceIsCut(t *testing.T) {
	hello := []byte{7, 0} // session, nothing confirmed
	for name, half := range map[string][]byte{
		"of the hello":                    {0x80},
		"of a name's length":              append(hello, 0x80),
		"after an empty name":             append(hello, 0),
		"of a payload's length":           append(hello, 0, 0x80),
		"of a name":                       append(hello, 2, 'a'),
		"of a payload":                    append(hello, 1, 'a', 2, 'b'),
		"of a payload, after a whole one": append(hello, 1, 'a', 1, 'b', 1, 'c', 3, 'd'),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				node := unstarted(t, "bob")
				here, there := net.Pipe()
				ended := make(chan error, 1)
				go func() { ended <- kademlia.ReceiveDirect(node, "bob", here) }()
				go func() { _, _ = there.Write(half) }()
				go drain(there)
				select {
				case err := <-ended:
					require.Error(t, err)
				case <-time.After(3 * kademlia.StallTime):
					t.Error("the stream is held")
				}
				_ = there.Close()
				_ = here.Close()
				synctest.Wait()
			})
		})
	}
}

// drain reads until the other side hangs up.
func drain(c net.Conn) {
	for b := make([]byte, 1<<10); ; {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

func TestSilenceBetweenFramesIsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := unstarted(t, "bob")
		here, there := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- kademlia.ReceiveDirect(node, "bob", here) }()
		go drain(there)
		_, err := there.Write([]byte{7, 0, 1, 'a', 1, 'b'})
		require.NoError(t, err)
		time.Sleep(24 * time.Hour)
		_, err = there.Write([]byte{1, 'c', 1, 'd'})
		require.NoError(t, err)
		_ = there.Close()
		require.Error(t, <-ended)
		_ = here.Close()
	})
}

// Each peer may have its window in memory. Do all of them together have as many windows as there are peers?
func TestFramesOfAllPeersTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"bob", "carol", "dave", "erin"}
		node := unstarted(t, names...)
		const size, fit = 100, 2
		kademlia.LimitInbox(node, fit*size)
		var read atomic.Int32
		var playing sync.WaitGroup
		var pipes []net.Conn
		for _, name := range names {
			here, there := net.Pipe()
			pipes = append(pipes, here, there)
			playing.Go(func() { _ = kademlia.ReceiveDirect(node, name, here) })
			playing.Go(func() { drain(there) })
			playing.Go(func() {
				for _, part := range [][]byte{{7, 0, 1, 'a', size}, make([]byte, size-1), {0}} {
					if _, err := there.Write(part); err != nil {
						return
					}
				}
				read.Add(1)
			})
		}
		synctest.Wait()
		require.EqualValues(t, fit, read.Load(), "frames in memory, of which nobody has taken any")
		time.Sleep(24 * time.Hour)
		require.EqualValues(t, fit, read.Load())

		frames, end := inbox(t, node)
		for range names {
			require.Len(t, <-frames, size)
		}
		for _, c := range pipes {
			_ = c.Close()
		}
		playing.Wait()
		end()
	})
}

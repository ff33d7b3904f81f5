package kademlia_test

import (
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
)

// What does a frame cost both ends together on its way to a peer, with as many in flight as a lane has?
func BenchmarkFrame(b *testing.B) {
	const inFlight = 16
	for _, size := range []int{256, 8 << 10, 256 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			m := newMesh(b)
			alice, bob := m.node(b, "alice"), m.node(b, "bob")
			for _, n := range []transports.Transport{bob, alice} {
				require.NoError(b, n.Start(b.Context()))
				defer n.Close()
			}
			arriving, err := bob.Subscribe(b.Context(), transports.Inbox)
			require.NoError(b, err)
			go func() {
				for f := range arriving {
					f.Ack()
				}
			}()
			payload := make([]byte, size)
			require.NoError(b, alice.Publish(transports.Direct("bob"), message.NewMessage("first", payload)))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			results := make(chan (<-chan error), inFlight)
			done := make(chan error, 1)
			go func() {
				var err error
				for r := range results {
					if e := <-r; e != nil {
						err = e
					}
				}
				done <- err
			}()
			for i := 0; b.Loop(); i++ {
				results <- alice.Send(transports.Direct("bob"), message.NewMessage(fmt.Sprintf("frame-%d", i), payload))
			}
			close(results)
			require.NoError(b, <-done)
		})
	}
}

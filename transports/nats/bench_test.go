package nats_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
)

// forEachSetting runs a benchmark with frames from alice to bob, each over TCP to the embedded server of a third node.
func forEachSetting(b *testing.B, run func(b *testing.B, alice *nats.Transport, inbox <-chan *message.Message, payload []byte)) {
	for _, sync := range []string{"default", "always"} {
		for _, size := range []int{1 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("sync=%s/%dKiB", sync, size>>10), func(b *testing.B) {
				hub := startNode(b, nats.Config{
					Node: "hub", Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: b.TempDir(), Sync: sync},
				})
				alice := startNode(b, nats.Config{URL: hub.Address(), Node: "alice"})
				inbox := subscribe(b, startNode(b, nats.Config{URL: hub.Address(), Node: "bob"}), transports.Inbox)
				mustPublish(b, alice, transports.Direct("bob"), frame(0))
				expect(b, inbox, 0)
				b.SetBytes(int64(size))
				b.ResetTimer()
				run(b, alice, inbox, make([]byte, size))
			})
		}
	}
}

func benchFrame(number int, payload []byte) *message.Message {
	return message.NewMessage(fmt.Sprint("b", number), payload)
}

// One frame after the other, as fast as a lane can send them.
func BenchmarkThroughput(b *testing.B) {
	forEachSetting(b, func(b *testing.B, alice *nats.Transport, inbox <-chan *message.Message, payload []byte) {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range b.N {
				for publish(b, alice, transports.Direct("bob"), benchFrame(i, payload)) != nil && b.Context().Err() == nil {
					runtime.Gosched() // bob's inbox is full: he is behind
				}
			}
		}()
		for range b.N {
			receive(b, inbox).Ack()
		}
		<-sent
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
	})
}

// One frame at a time: from the call of Publish to the subscriber's channel.
func BenchmarkLatency(b *testing.B) {
	forEachSetting(b, func(b *testing.B, alice *nats.Transport, inbox <-chan *message.Message, payload []byte) {
		latencies := make([]time.Duration, 0, b.N)
		for i := range b.N {
			begun := time.Now()
			sent := make(chan error, 1)
			go func() { sent <- publish(b, alice, transports.Direct("bob"), benchFrame(i, payload)) }()
			m := receive(b, inbox)
			latencies = append(latencies, time.Since(begun))
			m.Ack()
			if err := <-sent; err != nil {
				b.Fatal(err)
			}
		}
		slices.Sort(latencies)
		b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds()), "p99-µs")
	})
}

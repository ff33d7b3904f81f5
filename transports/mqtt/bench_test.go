package mqtt_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
)

// BenchmarkPublish publishes 500 messages of 64 bytes a call to a Mosquitto that nobody subscribes to.
func BenchmarkPublish(b *testing.B) {
	for _, qos := range []byte{0, 1, 2} {
		b.Run(fmt.Sprintf("qos%d", qos), func(b *testing.B) {
			s := session(b, config(startMosquitto(b).url(), "bench"), nil)
			payload := string(make([]byte, 64))
			b.ReportAllocs()
			defer reportCPU(b)()
			for sent := 0; sent < b.N; sent += 500 {
				var msgs []*message.Message
				for range min(500, b.N-sent) {
					msgs = append(msgs, raw("bench/topic", payload, qos))
				}
				require.NoError(b, s.Publish("", msgs...))
			}
		})
	}
}

// BenchmarkReceive takes messages of 64 bytes from a Mosquitto, and acknowledges them in runs as Weft's source does.
func BenchmarkReceive(b *testing.B) {
	for _, qos := range []byte{0, 1, 2} {
		b.Run(fmt.Sprintf("qos%d", qos), func(b *testing.B) {
			broker := startMosquitto(b, "max_inflight_messages 1000", "max_queued_messages 0")
			cfg := config(broker.url(), "bench")
			cfg.Window, cfg.MaxInflightQoS2 = 1000, 1000
			s := session(b, cfg, nil)
			messages, err := s.Subscribe(context.Background(), "#")
			require.NoError(b, err)
			cfg.ClientID = "sender"
			sender := session(b, cfg, nil)
			payload := string(make([]byte, 64))
			go func() {
				msg := raw("bench/topic", payload, max(qos, 1))
				for sender.Publish("", repeat(msg, 500)...) == nil {
				}
			}()
			b.ReportAllocs()
			b.ResetTimer()
			done := reportCPU(b)
			for range b.N {
				(<-messages).Ack()
			}
			done()
			b.StopTimer()
			sender.Close()
		})
	}
}

func repeat(msg *message.Message, n int) []*message.Message {
	msgs := make([]*message.Message, n)
	for i := range msgs {
		msgs[i] = msg
	}
	return msgs
}

// reportCPU reports what processor time a message costs in this process.
func reportCPU(b *testing.B) (done func()) {
	used := func() time.Duration {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64((used()-before).Nanoseconds())/float64(b.N)/1000, "cpu-µs/op") }
}

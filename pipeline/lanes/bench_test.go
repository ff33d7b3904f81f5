package lanes_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/frame"
	"github.com/weft-relay/weft/pipeline/lanes"
)

// BenchmarkLane moves messages of 200 bytes through the store in batches: append, read, acknowledge. One op is one message.
func BenchmarkLane(b *testing.B) {
	for _, c := range []struct {
		batch, fanout int
		qos           byte
	}{{1, 1, 1}, {20, 1, 1}, {20, 10, 1}, {20, 1000, 1}, {500, 1, 1}, {500, 10, 1}, {20, 1, 0}} {
		b.Run(fmt.Sprintf("qos=%d/batch=%d/fanout=%d", c.qos, c.batch, c.fanout), func(b *testing.B) {
			s := open(b, b.TempDir(), lanes.Options{})
			due := make([]*lanes.Lane, c.fanout)
			for i := range due {
				due[i] = s.Lane(fmt.Sprint("lane", i), lanes.Limits{})
			}
			entries := make([]lanes.Entry, c.batch)
			payload := make([]byte, 200)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpuTime(b)
			for n := 0; n < b.N; n += c.batch {
				for i := range entries {
					entries[i] = lanes.Entry{Message: frame.Message{Time: time.Now(), Topic: "fridges/1/temperature", Payload: payload, QoS: c.qos}, Lanes: due}
				}
				require.NoError(b, s.Append(b.Context(), entries))
				for _, l := range due {
					msgs, err := l.Next(b.Context(), c.batch, 1<<20)
					require.NoError(b, err)
					l.Ack(msgs[len(msgs)-1].Seq)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

package sample_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/stages/sample"
)

// BenchmarkProcess moves the clock by a second a call, in which each of a hundred topics has a message.
func BenchmarkProcess(b *testing.B) {
	const batch = 100
	in := make([]stage.Message, batch)
	for i := range in {
		in[i] = stage.Message{ID: uint64(i + 1), Topic: fmt.Sprintf("sensors/%d/temp", i), Payload: []byte("21.5"), QoS: 1}
	}
	sampler, now := newStage(b, sample.Config{Every: 10 * time.Second}), start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		if _, err := sampler.Process(b.Context(), now, in); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/message")
}

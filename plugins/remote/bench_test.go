package remote_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
)

// What does a message cost that passes an empty stage out of process, beside the same compiled in?
func BenchmarkEmptyStage(b *testing.B) {
	program := start(b, config("plugin"))
	for name, s := range map[string]stage.Stage{"inside": &pass{}, "outside": program.Stage("empty", nil, "bench")} {
		for _, size := range []int{100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				in := make([]stage.Message, size)
				for i := range in {
					in[i] = mqttMessage(uint64(i+1), fmt.Sprintf("sensors/%d/temperature", i), `{"value": 21.5, "unit": "celsius", "battery": 97}`)
				}
				if _, err := process(b, s, in); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if out, err := s.Process(b.Context(), time.Now(), in); err != nil || len(out.Messages) != size {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/message")
			})
		}
	}
}

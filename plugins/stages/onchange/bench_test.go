package onchange_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/stages/onchange"
)

func BenchmarkProcess(b *testing.B) {
	for _, changing := range []bool{false, true} {
		b.Run(fmt.Sprintf("changing=%t", changing), func(b *testing.B) {
			const batch = 100
			s := newStage(b, onchange.Config{MaxSilence: time.Hour})
			in := make([]stage.Message, batch)
			for i := range in {
				in[i] = stage.Message{ID: uint64(i + 1), Topic: fmt.Sprintf("sensors/%d/temp", i), Payload: []byte("21.5"), QoS: 1}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if changing {
					for k := range in {
						in[k].Payload[0] = '0' + byte(i%10)
					}
				}
				if _, err := s.Process(b.Context(), start, in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/message")
		})
	}
}

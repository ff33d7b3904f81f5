package jsonpick_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/stages/jsonpick"
)

func BenchmarkProcess(b *testing.B) {
	for name, c := range map[string]jsonpick.Config{"pick": {Pick: "/sensors/temp"}, "split": {Pick: "/list", Split: true}} {
		b.Run(name, func(b *testing.B) {
			const batch = 100
			in := make([]stage.Message, batch)
			for i := range in {
				payload := []byte(`{"id": 7, "sensors": {"hum": 40, "temp": 21.5}, "list": [1, 2, 3]}`)
				in[i] = stage.Message{ID: uint64(i + 1), Topic: fmt.Sprintf("sensors/%d", i), Payload: payload, QoS: 1}
			}
			s := newStage(b, c)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Process(b.Context(), time.Time{}, in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/message")
		})
	}
}

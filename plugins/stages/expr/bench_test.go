package expr_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/stages/expr"
)

func BenchmarkProcess(b *testing.B) {
	for name, c := range map[string]expr.Config{
		"topic": {Filter: `topic startsWith "sensors/" and qos == 1`},
		"json":  {Filter: "json.temp > 20"},
		"set":   {Set: expr.Set{Payload: `{"t": json.temp}`, Topic: `topic + "/t"`}},
	} {
		b.Run(name, func(b *testing.B) {
			const batch = 100
			in := make([]stage.Message, batch)
			for i := range in {
				in[i] = stage.Message{ID: uint64(i + 1), Topic: fmt.Sprintf("sensors/%d/temp", i), Payload: []byte(`{"temp": 21.5, "hum": 40}`), QoS: 1}
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

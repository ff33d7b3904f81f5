package rename_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/stages/rename"
)

func BenchmarkProcess(b *testing.B) {
	const batch = 100
	in := make([]stage.Message, batch)
	for i := range in {
		in[i] = stage.Message{ID: uint64(i + 1), Topic: fmt.Sprintf("sensors/%d/temp", i), Payload: []byte("21.5"), QoS: 1}
	}
	s := newStage(b, rename.Config{From: "sensors/+/temp", To: "site/alice/{1}/temp"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Process(b.Context(), time.Time{}, in); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/message")
}

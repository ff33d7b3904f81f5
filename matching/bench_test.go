package matching_test

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/weft-relay/weft/matching"
)

var sizes = []int{10, 10_000, 1_000_000}

// plant returns filters as sites have them: nine in ten name one sensor's topic or its subtree, one has a "+".
func plant(size int) []string {
	filters := make([]string, size)
	for i := range filters {
		switch area, sensor := strconv.Itoa(i/1000), strconv.Itoa(i); i % 10 {
		case 0:
			filters[i] = "plant/" + area + "/+/" + sensor
		case 1, 2, 3:
			filters[i] = "plant/" + area + "/sensor" + sensor + "/#"
		default:
			filters[i] = "plant/" + area + "/sensor" + sensor + "/temperature"
		}
	}
	return filters
}

func plantTopics(size int) []string {
	topics := make([]string, 4096)
	for i := range topics {
		sensor := i * 7919 % size
		topics[i] = fmt.Sprintf("plant/%d/sensor%d/temperature", sensor/1000, sensor)
	}
	return topics
}

func BenchmarkSetLookup(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("filters=%d", size), func(b *testing.B) {
			set, topics := newSet(b, plant(size), 1000), plantTopics(size)
			found := make([]int, 0, 16)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				found = set.AppendMatch(found[:0], topics[i%len(topics)])
			}
		})
	}
}

func BenchmarkNewSet(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("filters=%d", size), func(b *testing.B) {
			filters := plant(size)
			var set *matching.Set[int]
			before := heap()
			for b.Loop() {
				set = newSet(b, filters, 1000)
			}
			b.ReportMetric(float64(heap()-before)/float64(size), "B/filter")
			runtime.KeepAlive(set)
			runtime.KeepAlive(filters)
		})
	}
}

// heap returns the bytes that are in use after a collection.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func BenchmarkCover(b *testing.B) {
	for _, size := range sizes[:2] {
		b.Run(fmt.Sprintf("filters=%d", size), func(b *testing.B) {
			filters := plant(size)
			for b.Loop() {
				matching.Cover(filters)
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		matching.Match("plant/+/sensor17/#", "plant/3/sensor17/temperature")
	}
}

//go:build linux

package main

import (
	"math"
	"slices"
	"time"
)

// tally is the receiving side's account of one run. It is used by one goroutine at a time.
type tally struct {
	seen       []uint64 // a bit for each sequence number
	next       int      // one more than the highest sequence number seen
	distinct   int
	duplicates int
	reordered  int // arrivals after a message with a higher number, duplicates not counted
	latencies  []time.Duration
}

// add records an arrival; measured says whether its latency counts.
func (t *tally) add(seq int, latency time.Duration, measured bool) {
	word, bit := seq/64, uint64(1)<<(seq%64)
	for word >= len(t.seen) {
		t.seen = append(t.seen, 0)
	}
	if t.seen[word]&bit != 0 {
		t.duplicates++
		return
	}
	t.seen[word] |= bit
	t.distinct++
	if seq < t.next {
		t.reordered++
	}
	t.next = max(t.next, seq+1)
	if measured {
		t.latencies = append(t.latencies, latency)
	}
}

// percentile returns the latency that the share p, from 0 to 1, of the measured messages did not exceed (nearest rank);
// 0 when none was measured. It sorts the latencies.
func (t *tally) percentile(p float64) time.Duration {
	if len(t.latencies) == 0 {
		return 0
	}
	slices.Sort(t.latencies)
	rank := int(math.Ceil(p * float64(len(t.latencies))))
	return t.latencies[max(rank, 1)-1]
}

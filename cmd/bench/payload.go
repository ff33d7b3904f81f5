//go:build linux

package main

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"time"
)

// A payload is a JSON object like a sensor's: {"seq":         7,"ns":     1234567,"v":[21.37,48.02,90.11]}. Blanks, which
// JSON allows, keep it at its size. The readings are random, so that it compresses as real readings do.
const (
	seqAt, seqDigits = len(`{"seq":`), 10
	nsAt, nsDigits   = seqAt + seqDigits + len(`,"ns":`), 13
	valuesAt         = nsAt + nsDigits + len(`,"v":[`)
	readingSize      = len(`21.37,`)
	minPayload       = valuesAt + readingSize - 1 + len(`]}`)
)

// generator makes the payloads of one size.
type generator struct {
	payload  []byte
	readings []byte // random readings, each with its comma
	values   int    // bytes of readings in one payload, without the last comma
	offset   int
}

func newGenerator(size int) *generator {
	count := (size - valuesAt - len(`]}`) + 1) / readingSize
	pool := count + 10_000
	random := rand.New(rand.NewPCG(1, uint64(size)))
	readings := make([]byte, 0, pool*readingSize)
	for range pool {
		readings = strconv.AppendInt(readings, 10+random.Int64N(90), 10)
		readings = append(readings, '.', '0'+byte(random.IntN(10)), '0'+byte(random.IntN(10)), ',')
	}
	payload := bytes.Repeat([]byte{' '}, size)
	copy(payload, `{"seq":`)
	copy(payload[seqAt+seqDigits:], `,"ns":`)
	copy(payload[nsAt+nsDigits:], `,"v":[`)
	copy(payload[size-2:], `]}`)
	return &generator{payload: payload, readings: readings, values: count*readingSize - 1}
}

// next returns the payload of the message, valid until the next call. sent counts from the start of the load.
func (g *generator) next(seq int, sent time.Duration) []byte {
	rightAlign(g.payload[seqAt:seqAt+seqDigits], int64(seq))
	rightAlign(g.payload[nsAt:nsAt+nsDigits], int64(sent))
	if g.offset+g.values > len(g.readings) {
		g.offset = 0
	}
	copy(g.payload[valuesAt:], g.readings[g.offset:g.offset+g.values])
	g.offset += readingSize
	return g.payload
}

// parsePayload reads back what next wrote; ok is false for anything else, such as a probe.
func parsePayload(payload []byte) (seq int, sent time.Duration, ok bool) {
	if len(payload) < minPayload || !bytes.HasPrefix(payload, []byte(`{"seq":`)) {
		return 0, 0, false
	}
	n, okSeq := number(payload[seqAt : seqAt+seqDigits])
	ns, okNs := number(payload[nsAt : nsAt+nsDigits])
	return int(n), time.Duration(ns), okSeq && okNs
}

func rightAlign(field []byte, n int64) {
	for i := len(field) - 1; i >= 0; i-- {
		field[i] = ' '
		if n > 0 || i == len(field)-1 {
			field[i] = '0' + byte(n%10)
		}
		n /= 10
	}
}

func number(field []byte) (n int64, ok bool) {
	for _, c := range bytes.TrimLeft(field, " ") {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
		ok = true
	}
	return n, ok
}

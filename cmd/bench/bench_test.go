//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Do both reference paths, at every QoS and under both loads, carry all that is sent, and does the report say so?
func TestReferencePathsAreMeasuredWithoutLoss(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.md")
	var stdout bytes.Buffer
	args := []string{"-scenarios", "mosquitto,bridge", "-sizes", "64", "-warmup", "100ms", "-duration", "500ms", "-dir", t.TempDir(), "-out", file}
	require.NoError(t, run(t.Context(), args, &stdout, slog.New(slog.DiscardHandler)))

	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, stdout.String(), string(written))
	var measured int
	for line := range strings.Lines(stdout.String()) {
		cells := strings.Split(line, "|")
		if len(cells) != len(header)+2 || strings.Contains(line, "---") || strings.Contains(line, "QoS") {
			continue
		}
		measured++
		require.NotEqual(t, "0", strings.TrimSpace(cells[3]), "nothing arrived: %s", line)
		for _, column := range cells[len(cells)-4 : len(cells)-1] {
			require.Equal(t, "0", strings.TrimSpace(column), "lost, doubled or reordered: %s", line)
		}
	}
	require.Equal(t, 2*3*2, measured)
}

func TestPathThatEndsIsReportedWithItsLastWords(t *testing.T) {
	dir := t.TempDir()
	s := &site{dir: dir}
	defer s.close()
	p, err := s.spawn("broker", "/bin/sh", "-c", "echo port taken; exit 3")
	require.NoError(t, err)
	err = p.awaitListening(t.Context(), "127.0.0.1:1")
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "port taken")
	require.Error(t, s.alive())
}

func TestUnusableFlagsAreAllNamed(t *testing.T) {
	_, err := parse([]string{"-scenarios", "mosquito", "-qos", "1,3", "-sizes", "10", "-rates", "x", "-window", "0"})
	for _, wrong := range []string{`"mosquito"; there are mosquitto, bridge`, `"3"`, `"10"`, `"x"`, "window 0"} {
		require.ErrorContains(t, err, wrong)
	}
	_, err = parse([]string{"now"})
	require.ErrorContains(t, err, `"now"`)
}

func TestPayloadIsJSONOfItsSizeAndReadsBack(t *testing.T) {
	for _, size := range []int{minPayload, 64, 65, 1024, 1 << 20} {
		g := newGenerator(size)
		for _, seq := range []int{0, 1, 9_999_999_999} {
			payload := g.next(seq, time.Duration(seq)*7)
			require.Len(t, payload, size)
			var decoded struct {
				Seq int
				Ns  time.Duration
				V   []float64
			}
			require.NoError(t, json.Unmarshal(payload, &decoded), "%s", payload)
			gotSeq, gotSent, ok := parsePayload(payload)
			require.True(t, ok)
			require.Equal(t, []any{seq, time.Duration(seq) * 7}, []any{gotSeq, gotSent})
			require.Equal(t, []any{seq, time.Duration(seq) * 7}, []any{decoded.Seq, decoded.Ns})
			require.NotEmpty(t, decoded.V)
		}
	}
}

func TestTallyCountsDuplicatesAndReorderingApart(t *testing.T) {
	var got tally
	for _, seq := range []int{0, 1, 3, 2, 3, 1, 200, 5} {
		got.add(seq, time.Duration(seq), seq > 1)
	}
	require.Equal(t, 6, got.distinct)
	require.Equal(t, 2, got.duplicates)
	require.Equal(t, 2, got.reordered)
	require.Equal(t, 201, got.next)
	require.Equal(t, time.Duration(3), got.percentile(0.5)) // of 2, 3, 5 and 200
	require.Equal(t, time.Duration(200), got.percentile(0.99))
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	var got tally
	require.Zero(t, got.percentile(0.5))
	for seq := range 100 {
		got.add(seq, time.Duration(100-seq), true)
	}
	require.Equal(t, time.Duration(50), got.percentile(0.50))
	require.Equal(t, time.Duration(99), got.percentile(0.99))
	require.Equal(t, time.Duration(100), got.percentile(1))
}

func TestTablesCompareWithTheBridgeOfTheSameLoad(t *testing.T) {
	one := result{
		cell:    cell{scenario: scenario{name: "weft-nats"}, qos: 1, size: 64},
		arrived: 1000, perSecond: 700, p50: 3 * time.Millisecond, p99: 15 * time.Millisecond,
		processes: []usage{{"alice", 20 * time.Millisecond, 50 << 20}, {loadProcess, time.Millisecond, 0}},
		lost:      1,
	}
	bridge := one
	bridge.scenario.name, bridge.perSecond, bridge.p50, bridge.lost = reference, 1000, 2*time.Millisecond, 0
	paced := one
	paced.rate = 1000
	want := `
### full speed, closed loop, 64-byte JSON

| QoS | path      | msg/s | ×    | p50 ms | ×    | p99 ms | ×    | CPU µs/msg | ×    | CPU of each          | peak RSS MiB of each | lost | doubled | reordered |
|-----|-----------|-------|------|--------|------|--------|------|------------|------|----------------------|----------------------|------|---------|-----------|
| 1   | bridge    | 1000  | 1.00 | 2.00   | 1.00 | 15.00  | 1.00 | 20.0       | 1.00 | alice 20.0, load 1.0 | alice 50             | 0    | 0       | 0         |
| 1   | weft-nats | 700   | 0.70 | 3.00   | 1.50 | 15.00  | 1.00 | 20.0       | 1.00 | alice 20.0, load 1.0 | alice 50             | 1    | 0       | 0         |

### 1000 messages a second, 64-byte JSON

| QoS | path      | msg/s | × | p50 ms | × | p99 ms | × | CPU µs/msg | × | CPU of each          | peak RSS MiB of each | lost | doubled | reordered |
|-----|-----------|-------|---|--------|---|--------|---|------------|---|----------------------|----------------------|------|---------|-----------|
| 1   | weft-nats | 700   | – | 3.00   | – | 15.00  | – | 20.0       | – | alice 20.0, load 1.0 | alice 50             | 1    | 0       | 0         |
`
	require.Equal(t, want, tables([]result{bridge, one, paced}))
}

func TestCPUClockAndPeakMemoryOfThisProcessGrow(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for now := before; now == before; {
		require.NoError(t, ctx.Err())
		now, err = cpuTime(os.Getpid())
		require.NoError(t, err)
		require.GreaterOrEqual(t, now, before)
	}
	rss, err := memory(os.Getpid(), peakRSS)
	require.NoError(t, err)
	require.Greater(t, rss, int64(1<<20))
	_, err = cpuTime(1 << 23) // above any process id
	require.Error(t, err)
}

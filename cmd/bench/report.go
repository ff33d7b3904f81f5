//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tables renders the results, a Markdown table for each load and payload size, in the order in which they were measured.
func tables(results []result) string {
	var b strings.Builder
	for len(results) > 0 {
		first := results[0]
		n := slices.IndexFunc(results, func(r result) bool { return r.rate != first.rate || r.size != first.size })
		if n < 0 {
			n = len(results)
		}
		load := "full speed, closed loop"
		if first.rate > 0 {
			load = strconv.Itoa(first.rate) + " messages a second"
		}
		fmt.Fprintf(&b, "\n### %s, %d-byte JSON\n\n", load, first.size)
		table(&b, results[:n])
		postsTable(&b, results[:n])
		results = results[n:]
	}
	return b.String()
}

var header = []string{
	"QoS", "path", "msg/s", "×", "p50 ms", "×", "p99 ms", "×", "CPU µs/msg", "×", "CPU of each", "peak RSS MiB of each", "lost", "doubled", "reordered",
}

func table(b *strings.Builder, results []result) {
	rows := [][]string{header}
	for _, r := range results {
		i := slices.IndexFunc(results, func(other result) bool { return other.scenario.name == reference && other.qos == r.qos })
		ratio := func(value func(result) float64) string {
			if i < 0 || value(results[i]) == 0 {
				return "–"
			}
			return fmt.Sprintf("%.2f", value(r)/value(results[i]))
		}
		rows = append(rows, []string{
			strconv.Itoa(int(r.qos)), r.scenario.name,
			fmt.Sprintf("%.0f", r.perSecond), ratio(func(r result) float64 { return r.perSecond }),
			milliseconds(r.p50), ratio(func(r result) float64 { return float64(r.p50) }),
			milliseconds(r.p99), ratio(func(r result) float64 { return float64(r.p99) }),
			fmt.Sprintf("%.1f", r.cpu()), ratio(result.cpu),
			r.each(func(u usage) string { return fmt.Sprintf("%.1f", r.perMessage(u)) }),
			r.each(func(u usage) string {
				if u.rss == 0 {
					return ""
				}
				return fmt.Sprintf("%.0f", float64(u.rss)/(1<<20))
			}),
			strconv.Itoa(r.lost), strconv.Itoa(r.duplicates), strconv.Itoa(r.reordered),
		})
	}
	align(b, rows)
}

// align writes the rows, the first of which is the header, with columns of equal width.
func align(b *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for i, row := range rows {
		for column, cell := range row {
			fmt.Fprintf(b, "| %-*s ", widths[column], cell)
		}
		b.WriteString("|\n")
		if i == 0 {
			for _, width := range widths {
				b.WriteString("|" + strings.Repeat("-", width+2))
			}
			b.WriteString("|\n")
		}
	}
}

// each joins what text says of each process, in the order of their start; the processes it says nothing of are left out.
func (r result) each(text func(usage) string) string {
	var parts []string
	for _, u := range r.processes {
		if value := text(u); value != "" {
			parts = append(parts, u.process+" "+value)
		}
	}
	return strings.Join(parts, ", ")
}

// perMessage returns the CPU microseconds a message of the process.
func (r result) perMessage(u usage) float64 {
	return float64(u.cpu.Nanoseconds()) / 1000 / float64(max(1, r.arrived))
}

// cpu returns the CPU microseconds a message of the whole path, without the load's own.
func (r result) cpu() (sum float64) {
	for _, u := range r.processes {
		if u.process != loadProcess {
			sum += r.perMessage(u)
		}
	}
	return sum
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000)
}

// describe says what the numbers were measured on, as the report's first lines.
func describe(ctx context.Context, dir string, bin map[string]string, p plan) (string, error) {
	fsync, err := fsyncTime(filepath.Join(dir, "fsync"))
	if err != nil {
		return "", fmt.Errorf("time an fsync: %w", err)
	}
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		return "", fmt.Errorf("kernel's version: %w", err)
	}
	// Mosquitto has no option for its version: its help begins with it, and ends with status 3.
	help, _ := exec.CommandContext(ctx, bin["mosquitto"], "-h").Output()
	version, _, _ := bytes.Cut(help, []byte("\n"))
	return fmt.Sprintf("%d CPUs, Linux %s, %s, %s; an fsync of 4 KiB takes %s ms (median of 50).\n"+
		"Each cell: %s after %s of warm-up; closed loop of %d outstanding; JetStream sync_interval %s.\n"+
		"× is the ratio to %s.\n",
		runtime.NumCPU(), unix.ByteSliceToString(kernel.Release[:]), runtime.Version(), version, milliseconds(fsync),
		p.duration, p.warmup, p.window, p.sync, reference), nil
}

// fsyncTime returns the median time of an append of 4 KiB with an fsync, and removes the file it wrote.
func fsyncTime(name string) (time.Duration, error) {
	file, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer os.Remove(name)
	defer file.Close()
	times := make([]time.Duration, 50)
	for i := range times {
		began := time.Now()
		if _, err := file.Write(make([]byte, 4<<10)); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

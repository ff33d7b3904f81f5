//go:build linux

// Command bench measures how messages get from a publisher on one site to a subscriber on another: through one Mosquitto,
// over Mosquitto's own bridge, and through two Weft nodes. All run on this machine, one after the other, under the same
// load and with the same broker settings. docs/benchmarks.md says how to read what it prints. Linux only, for it reads
// the CPU clocks of other processes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// plan is what to measure.
type plan struct {
	scenarios []scenario
	qos       []byte
	sizes     []int // payload bytes
	rates     []int // messages a second; 0 is the closed loop at full speed
	window    int   // messages outstanding in the closed loop
	warmup    time.Duration
	duration  time.Duration
	dir       string // where the processes keep their data; "" is the system's temporary folder
	sync      string // JetStream's sync_interval
	out       string // file for the tables beside standard output; "" is none
	rest      int    // instead of all that: with how many mesh peers a node rests; 0 is not
	profiles  string // folder for CPU profiles of the nodes; "" takes none
}

func main() {
	servePlugin()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer, log *slog.Logger) error {
	p, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(p.dir, "weft-bench-")
	if err != nil {
		return fmt.Errorf("working folder: %w", err)
	}
	defer os.RemoveAll(dir)
	bin, err := build(ctx, dir, p.scenarios)
	if err != nil {
		return err
	}
	if p.rest > 0 {
		return rest(ctx, dir, bin, p.rest, stdout)
	}
	about, err := describe(ctx, dir, bin, p)
	if err != nil {
		return err
	}
	var results []result
	for _, c := range p.cells() {
		r, err := c.measure(ctx, dir, bin, p, log)
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		log.Info("measured", "cell", c.String(), "rate", int(r.perSecond), "p50", r.p50, "p99", r.p99,
			"lost", r.lost, "duplicates", r.duplicates, "reordered", r.reordered)
		results = append(results, r)
	}
	report := about + "\n" + tables(results)
	if p.out != "" {
		if err := os.WriteFile(p.out, []byte(report), 0o644); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	_, err = io.WriteString(stdout, report)
	return err
}

func parse(args []string) (plan, error) {
	p := plan{window: 1000}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	names := flags.String("scenarios", strings.Join(scenarioNames(), ","), "which paths to measure")
	qos := flags.String("qos", "0,1,2", "qualities of service")
	sizes := flags.String("sizes", "64,1024", "payload sizes in bytes")
	rates := flags.String("rates", "0,1000", "messages a second; 0 is full speed in a closed loop")
	flags.IntVar(&p.window, "window", p.window, "messages outstanding in the closed loop")
	flags.DurationVar(&p.duration, "duration", 10*time.Second, "how long each cell is measured")
	flags.DurationVar(&p.warmup, "warmup", 2*time.Second, "load before each measurement")
	flags.StringVar(&p.sync, "jetstream-sync", "2m", "JetStream's sync_interval, or always; 2m is its default")
	flags.StringVar(&p.dir, "dir", "", "where brokers and nodes keep their data; must be a real disk (default the temporary folder)")
	flags.StringVar(&p.out, "out", "", "also write the tables to this Markdown file")
	flags.StringVar(&p.profiles, "profile", "", "save a CPU profile of every node that serves one into this folder")
	flags.IntVar(&p.rest, "rest", 0, "instead of all that, say what a node costs that rests with so many mesh peers")
	if err := flags.Parse(args); err != nil {
		return p, err
	}
	if flags.NArg() > 0 {
		return p, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	var errs []error
	p.scenarios = list(*names, findScenario, &errs)
	p.qos = list(*qos, func(s string) (byte, error) { return ranged[byte](s, 0, 2) }, &errs)
	p.sizes = list(*sizes, func(s string) (int, error) { return ranged[int](s, minPayload, 1<<20) }, &errs)
	p.rates = list(*rates, func(s string) (int, error) { return ranged[int](s, 0, 1_000_000) }, &errs)
	if p.window < 1 || p.window > maxOutstanding {
		errs = append(errs, fmt.Errorf("window %d: must be 1 to %d", p.window, maxOutstanding))
	}
	return p, errors.Join(errs...)
}

// list parses a comma-separated flag and appends what is wrong with it to errs.
func list[T any](text string, parse func(string) (T, error), errs *[]error) []T {
	var values []T
	for word := range strings.SplitSeq(text, ",") {
		value, err := parse(strings.TrimSpace(word))
		if err != nil {
			*errs = append(*errs, err)
		}
		values = append(values, value)
	}
	return values
}

func ranged[T byte | int](text string, least, most int) (T, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q: must be a number from %d to %d", text, least, most)
	}
	return T(n), nil
}

// cells returns everything to measure, in the order of the tables. The scenarios of one load follow each other directly,
// so that they meet the machine in the same mood.
func (p plan) cells() []cell {
	var cells []cell
	for _, rate := range p.rates {
		for _, size := range p.sizes {
			for _, qos := range p.qos {
				for _, s := range p.scenarios {
					cells = append(cells, cell{scenario: s, qos: qos, size: size, rate: rate})
				}
			}
		}
	}
	return cells
}

// profileFile is where the CPU profile of a process of the cell goes.
func (p plan) profileFile(c cell, process string) string {
	return filepath.Join(p.profiles, strings.NewReplacer(" ", "-", "/", "-").Replace(c.String())+"-"+process+".pprof")
}

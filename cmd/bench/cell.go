//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// cell is one measurement: a path under one load.
type cell struct {
	scenario scenario
	qos      byte
	size     int
	rate     int
}

func (c cell) String() string {
	load := "full"
	if c.rate > 0 {
		load = fmt.Sprintf("%d/s", c.rate)
	}
	return fmt.Sprintf("%s qos%d %dB %s", c.scenario.name, c.qos, c.size, load)
}

// loadProcess is the name in results of this program, with both clients in it.
const loadProcess = "load"

// usage is what one process spent.
type usage struct {
	process string
	cpu     time.Duration // while measured
	rss     int64         // bytes, the most it ever had
}

// result is what a cell measured. Rate, latency and CPU are of the measured time; loss, duplicates and order of all that
// was sent, warm-up included.
type result struct {
	cell
	arrived                     int // messages while measured
	perSecond                   float64
	p50, p99                    time.Duration
	processes                   []usage
	posts                       map[string]int // while measured, by node; empty where the network counts none
	lost, duplicates, reordered int
}

// measure sets the path up, loads it and takes it down.
func (c cell) measure(ctx context.Context, dir string, bin map[string]string, p plan, log *slog.Logger) (r result, err error) {
	dir, err = os.MkdirTemp(dir, "cell-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	// Mosquitto started by root reads its configuration as an ordinary user.
	if err := os.Chmod(dir, 0o755); err != nil {
		return r, err
	}
	s := &site{dir: dir, bin: bin, qos: c.qos, sync: p.sync}
	defer s.close()
	in, out, err := c.scenario.start(ctx, s)
	if err != nil {
		return r, err
	}
	l, err := newLoad(in, out, c, p.window)
	if err != nil {
		return r, err
	}
	defer l.close()
	if err := l.awaitPath(ctx); err != nil {
		return r, errors.Join(err, s.alive())
	}
	return c.run(ctx, s, l, p, log)
}

// run sends, measures for the planned time, and waits for what is under way. It closes the load.
func (c cell) run(ctx context.Context, s *site, l *load, p plan, log *slog.Logger) (r result, err error) {
	sending, stopSending := context.WithCancel(ctx)
	defer stopSending()
	var sent int
	var sendErr error
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		sent, sendErr = l.send(sending)
	}()
	r.cell = c
	err = errors.Join(l.pause(sending, p.warmup, sender), c.observe(sending, s, l, p, sender, &r, log))
	stopSending()
	<-sender
	if err = errors.Join(err, sendErr, s.alive()); err != nil {
		return r, err
	}
	l.drain(ctx, sent)
	if err := errors.Join(s.peaks(&r), s.crossed(ctx)); err != nil {
		return r, err
	}
	l.close()
	r.p50, r.p99 = l.tally.percentile(0.50), l.tally.percentile(0.99)
	r.lost, r.duplicates, r.reordered = sent-l.tally.distinct, l.tally.duplicates, l.tally.reordered
	return r, ctx.Err()
}

// observe measures rate, latency and CPU for the planned time.
func (c cell) observe(ctx context.Context, s *site, l *load, p plan, sender <-chan struct{}, r *result, log *slog.Logger) error {
	var profiles sync.WaitGroup
	defer profiles.Wait()
	if p.profiles != "" {
		for _, node := range s.processes {
			if node.admin != "" {
				profiles.Go(func() {
					if err := node.profile(ctx, p.duration, p.profileFile(c, node.name)); err != nil {
						log.Warn("no profile", "err", err)
					}
				})
			}
		}
	}
	before, err := s.cpu()
	if err != nil {
		return err
	}
	if r.posts, err = s.posts(ctx); err != nil {
		return err
	}
	began, arrived := time.Now(), l.arrived.Load()
	l.measuring.Store(true)
	if err := l.pause(ctx, p.duration, sender); err != nil {
		return err
	}
	l.measuring.Store(false)
	r.arrived = int(l.arrived.Load() - arrived)
	r.perSecond = float64(r.arrived) / time.Since(began).Seconds()
	posts, err := s.posts(ctx)
	if err != nil {
		return err
	}
	for name := range posts {
		posts[name] -= r.posts[name]
	}
	r.posts = posts
	r.processes, err = s.cpu()
	for i := range before {
		r.processes[i].cpu -= before[i].cpu
	}
	return err
}

// pause lets the load run for the time, unless something ends it before.
func (l *load) pause(ctx context.Context, length time.Duration, sender <-chan struct{}) error {
	select {
	case <-time.After(length):
		return nil
	case <-sender:
		return errors.New("the publisher stopped early")
	case err := <-l.failed:
		return fmt.Errorf("client: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cpu returns the CPU time of every process so far, this program's last.
func (s *site) cpu() ([]usage, error) {
	used := make([]usage, 0, len(s.processes)+1)
	for _, p := range append(slices.Clip(s.processes), &process{name: loadProcess, pid: os.Getpid()}) {
		spent, err := cpuTime(p.pid)
		if err != nil {
			return nil, errors.Join(err, p.alive())
		}
		used = append(used, usage{process: p.name, cpu: spent})
	}
	return used, nil
}

// peaks adds the peak memory of every process but this one.
func (s *site) peaks(r *result) (err error) {
	for i, p := range s.processes {
		if r.processes[i].rss, err = memory(p.pid, peakRSS); err != nil {
			return errors.Join(err, p.alive())
		}
	}
	return nil
}

// alive returns an error if a process has ended.
func (s *site) alive() error {
	var errs []error
	for _, p := range s.processes {
		errs = append(errs, p.alive())
	}
	return errors.Join(errs...)
}

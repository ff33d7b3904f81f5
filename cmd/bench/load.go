//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	topic  = "fridges/1/temperature"
	filter = "fridges/#"

	// maxOutstanding keeps packet identifiers from being used twice at once.
	maxOutstanding = 60_000

	// pause is between two reads in the closed loop.
	pause = 2 * time.Millisecond
)

// load is one publisher and one subscriber, and what passes between them.
type load struct {
	qos      byte
	size     int
	rate     int // messages a second; 0 is the closed loop
	window   int
	pub, sub *client
	began    time.Time      // what the times in payloads count from
	readers  sync.WaitGroup // the two clients' reading goroutines

	tally     tally       // belongs to the subscriber's reader until readers is done
	measuring atomic.Bool // latencies count
	arrived   atomic.Int64
	next      atomic.Int64 // one more than the highest sequence number that arrived
	acked     atomic.Int64
	progress  chan struct{} // holds one token: arrived or acked grew since it was last taken
	probed    chan struct{} // closed when the first probe arrived
	failed    chan error    // why a reader ended
}

// newLoad connects the publisher to the broker at in and the subscriber to the one at out.
func newLoad(in, out string, c cell, window int) (*load, error) {
	l := &load{
		qos: c.qos, size: c.size, rate: c.rate, window: window, began: time.Now(),
		progress: make(chan struct{}, 1), probed: make(chan struct{}), failed: make(chan error, 2),
	}
	var err error
	if l.sub, err = dial(out, "bench-subscriber"); err != nil {
		return nil, err
	}
	if err = l.sub.subscribe(filter, l.qos); err == nil {
		l.pub, err = dial(in, "bench-publisher")
	}
	if err != nil {
		l.sub.close()
		return nil, err
	}
	probed := sync.OnceFunc(func() { close(l.probed) })
	l.readers.Go(func() {
		l.failed <- l.sub.serve(handler{idle: l.idle, message: func(payload []byte) {
			seq, sent, ok := parsePayload(payload)
			if !ok {
				probed()
				return
			}
			l.tally.add(seq, time.Since(l.began)-sent, l.measuring.Load())
			l.next.Store(int64(l.tally.next))
			l.arrived.Add(1)
		}})
	})
	l.readers.Go(func() {
		l.failed <- l.pub.serve(handler{idle: l.idle, acked: func() { l.acked.Add(1) }})
	})
	return l, nil
}

// close ends both clients; afterwards the tally may be read.
func (l *load) close() {
	l.pub.close()
	l.sub.close()
	l.readers.Wait()
}

// idle is what a reader does when it has read all there was. In the closed loop it pauses, so that the clients read and
// write many messages at a time and leave the CPU to what is measured; the window holds work for many such pauses.
func (l *load) idle() {
	select {
	case l.progress <- struct{}{}:
	default:
	}
	if l.rate == 0 {
		time.Sleep(pause)
	}
}

// awaitPath publishes probes until one arrives: the path is up and knows what the subscriber wants.
func (l *load) awaitPath(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("no message got through within a minute"))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := errors.Join(l.pub.publish(topic, 0, 0, []byte(`{"probe":true}`)), l.pub.flush()); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-l.probed:
			return nil
		case err := <-l.failed:
			return fmt.Errorf("client: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// send publishes until ctx ends and returns how many messages it has sent.
func (l *load) send(ctx context.Context) (sent int, err error) {
	if l.rate > 0 {
		return l.paced(ctx)
	}
	return l.closedLoop(ctx)
}

// closedLoop keeps the window full: a message is outstanding until the subscriber has it, or one sent after it, and
// the publisher's broker has acknowledged it.
func (l *load) closedLoop(ctx context.Context) (seq int, err error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // the clients leave what they can of the machine to what is measured
	g := newGenerator(l.size)
	for {
		for room := l.window - l.outstanding(seq); room > 0; room-- {
			if err := l.publish(g, seq, time.Since(l.began)); err != nil {
				return seq, err
			}
			seq++
		}
		if err := l.pub.flush(); err != nil {
			return seq, err
		}
		select {
		case <-l.progress:
		case <-ctx.Done():
			return seq, nil
		}
	}
}

// paced sends by the clock, whatever comes back. A message carries the time at which it was due, so that a delay in
// sending it counts as latency.
func (l *load) paced(ctx context.Context) (seq int, err error) {
	// Go's own timers may be a millisecond late; a thread that sleeps by itself is late by microseconds.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g := newGenerator(l.size)
	for begin := time.Now(); ctx.Err() == nil; seq++ {
		if l.outstanding(seq) >= maxOutstanding {
			return seq, fmt.Errorf("the path fell %d messages behind", maxOutstanding)
		}
		due := begin.Add(time.Duration(seq) * time.Second / time.Duration(l.rate))
		sleepUntil(due)
		if err := errors.Join(l.publish(g, seq, due.Sub(l.began)), l.pub.flush()); err != nil {
			return seq, err
		}
	}
	return seq, nil
}

func (l *load) outstanding(sent int) int {
	done := l.next.Load()
	if l.qos > 0 {
		done = min(done, l.acked.Load())
	}
	return sent - int(done)
}

func (l *load) publish(g *generator, seq int, sent time.Duration) error {
	return l.pub.publish(topic, uint16(seq%65535+1), l.qos, g.next(seq, sent))
}

// drain waits until everything sent has arrived, or nothing has for some seconds.
func (l *load) drain(ctx context.Context, sent int) {
	const patience = 3 * time.Second
	for {
		if int(l.next.Load()) == sent && int(l.arrived.Load()) >= sent {
			return
		}
		select {
		case <-l.progress:
		case <-time.After(patience):
			return
		case <-ctx.Done():
			return
		}
	}
}

func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		request := unix.NsecToTimespec(int64(left))
		// An interrupted sleep is resumed by the loop.
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &request, nil)
	}
}

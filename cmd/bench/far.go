//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// far passes TCP connections on to an address, and is late by as long both ways as a far one would be.
type far struct {
	listener net.Listener
	to       string
	delay    time.Duration
	passed   atomic.Uint64 // bytes

	mu    sync.Mutex
	conns []net.Conn // nil once it is closed
	work  sync.WaitGroup
}

// listenFar starts what close ends.
func listenFar(to string, delay time.Duration) (*far, error) {
	listener, err := net.Listen("tcp", loopback(0))
	if err != nil {
		return nil, err
	}
	f := &far{listener: listener, to: to, delay: delay, conns: []net.Conn{}}
	f.work.Go(f.serve)
	return f, nil
}

func (f *far) port() int { return f.listener.Addr().(*net.TCPAddr).Port }

func (f *far) close() {
	f.listener.Close()
	f.mu.Lock()
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
	f.mu.Unlock()
	f.work.Wait()
}

func (f *far) serve() {
	for {
		near, err := f.listener.Accept()
		if err != nil {
			return
		}
		away, err := net.Dial("tcp", f.to)
		if err != nil { // it does not listen yet: who dials tries again
			near.Close()
			continue
		}
		f.mu.Lock()
		if closed := f.conns == nil; closed {
			f.mu.Unlock()
			near.Close()
			away.Close()
			return
		}
		f.conns = append(f.conns, near, away)
		f.mu.Unlock()
		f.pass(near, away)
		f.pass(away, near)
	}
}

// late is what was read, and when it is due.
type late struct {
	data []byte
	due  time.Time
}

// pass passes on one direction. What is under way is bounded by far more than a connection of this benchmark has in flight.
func (f *far) pass(from, to net.Conn) {
	underWay := make(chan late, 1024)
	f.work.Go(func() {
		defer close(underWay)
		for {
			buffer := make([]byte, 16<<10)
			n, err := from.Read(buffer)
			if n > 0 {
				underWay <- late{buffer[:n], time.Now().Add(f.delay)}
			}
			if err != nil {
				return
			}
		}
	})
	f.work.Go(func() {
		defer to.(*net.TCPConn).CloseWrite() // the other direction may go on
		for l := range underWay {
			time.Sleep(time.Until(l.due))
			n, err := to.Write(l.data)
			f.passed.Add(uint64(n))
			if err != nil {
				from.Close() // ends the reading
				for range underWay {
				}
			}
		}
	})
}

// crossed returns an error where the nodes have found a shorter way than the far one.
func (s *site) crossed(ctx context.Context) error {
	if s.far == nil {
		return nil
	}
	for _, p := range s.processes {
		if p.admin == "" {
			continue
		}
		status, err := p.status(ctx)
		if err != nil {
			return err
		}
		for _, t := range status.Transports {
			if passed := s.far.passed.Load(); t.BytesOut > passed {
				return fmt.Errorf("%s has sent %d bytes of frames, and %d bytes went the far way", p.name, t.BytesOut, passed)
			}
		}
	}
	return nil
}

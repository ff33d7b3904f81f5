package twistertest

import (
	"bufio"
	"net"
	"sync"
	"time"
)

// server is the HTTP side of one life of a daemon. Like the real one it gives a thread to a connection for as long as that lasts.
type server struct {
	d        *Daemon
	listener net.Listener
	stopped  chan struct{}
	once     sync.Once

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func serve(d *Daemon, listener net.Listener) *server {
	s := &server{d: d, listener: listener, stopped: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	d.net.wg.Go(s.accept)
	return s
}

// accept leaves connections to the kernel while all threads are taken.
func (s *server) accept() {
	threads := make(chan struct{}, s.d.net.opts.Threads)
	for {
		select {
		case threads <- struct{}{}:
		case <-s.stopped:
			return
		}
		conn, err := s.listener.Accept()
		if err != nil || !s.admit(conn) {
			return
		}
		s.d.net.wg.Go(func() {
			defer func() { <-threads }()
			defer s.dismiss(conn)
			s.talk(conn)
		})
	}
}

func (s *server) admit(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		_ = conn.Close()
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *server) dismiss(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = conn.Close()
	delete(s.conns, conn)
}

// close ends all connections at once, whatever they are about to answer.
func (s *server) close() {
	s.once.Do(func() {
		close(s.stopped)
		_ = s.listener.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for conn := range s.conns {
			_ = conn.Close()
		}
		s.conns = nil
	})
}

// sleep reports false when the daemon ended meanwhile.
func (s *server) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stopped:
		return false
	}
}

// talk answers the requests of one connection until either side closes it.
func (s *server) talk(conn net.Conn) {
	r := bufio.NewReader(conn)
	for {
		req, err := readRequest(r)
		if err != nil {
			return
		}
		keep := s.answer(conn, req)
		s.d.stopIfAsked()
		if !keep {
			return
		}
	}
}

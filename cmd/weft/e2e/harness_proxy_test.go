package e2e_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy forwards TCP connections to one address. It can cut them all, and keeps what went through when it is told to.
type proxy struct {
	addr     string
	dial     func() (net.Conn, error)
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	record bool
	seen   bytes.Buffer
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	return newProxyAt(t, "127.0.0.1:0", func() (net.Conn, error) { return net.Dial("tcp", to) })
}

// newProxyAt makes a proxy that listens at an address, and forwards to what dial connects to.
func newProxyAt(t *testing.T, addr string, dial func() (net.Conn, error)) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	p := &proxy{addr: l.Addr().String(), dial: dial, listener: l, conns: map[net.Conn]bool{}}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.cut()
		p.done.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := p.dial()
		if err != nil {
			near.Close()
			continue
		}
		p.hold(near, far)
		p.done.Go(func() { p.copy(far, near) })
		p.done.Go(func() { p.copy(near, far) })
	}
}

func (p *proxy) hold(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
		if p.closed {
			c.Close()
		}
	}
}

func (p *proxy) copy(to, from net.Conn) {
	_, _ = io.Copy(io.MultiWriter(to, (*recorder)(p)), from) // it ends with either connection
	to.Close()
	from.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, to)
	delete(p.conns, from)
}

// cut closes every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// keep begins to keep what goes through.
func (p *proxy) keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record = true
}

// kept returns what went through.
func (p *proxy) kept() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.seen.Bytes())
}

// recorder is the proxy as a writer that keeps.
type recorder proxy

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.record {
		r.seen.Write(b)
	}
	return len(b), nil
}

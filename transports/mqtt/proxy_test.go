package mqtt_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy passes TCP connections on to a broker. It can cut them, or cut at a packet.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	// watch is called for every packet before it is passed on, and cuts the connection when it returns true.
	watch func(toBroker bool, kind byte) bool
	hole  bool // swallow what comes instead of passing it on
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, target: target, conns: make(map[net.Conn]struct{})}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		work.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) serve(client net.Conn) {
	broker, err := net.Dial("tcp", p.target)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[broker] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pass(broker, client, true) })
	both.Go(func() { p.pass(client, broker, false) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, broker)
}

// pass copies packets until one side fails, and closes both.
func (p *proxy) pass(to, from net.Conn, toBroker bool) {
	defer to.Close()
	defer from.Close()
	for {
		packet, err := readRaw(from)
		if err != nil {
			return
		}
		p.mu.Lock()
		cut, hole := p.watch != nil && p.watch(toBroker, packet[0]>>4), p.hole
		p.mu.Unlock()
		if cut {
			return
		}
		if hole {
			continue
		}
		if _, err := to.Write(packet); err != nil {
			return
		}
	}
}

func readRaw(r io.Reader) ([]byte, error) {
	packet := make([]byte, 1, 64)
	if _, err := io.ReadFull(r, packet); err != nil {
		return nil, err
	}
	length := 0
	for shift := 0; ; shift += 7 {
		var digit [1]byte
		if _, err := io.ReadFull(r, digit[:]); err != nil {
			return nil, err
		}
		packet = append(packet, digit[0])
		length |= int(digit[0]&0x7f) << shift
		if digit[0] < 0x80 {
			break
		}
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return append(packet, body...), err
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

func (p *proxy) set(change func(p *proxy)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

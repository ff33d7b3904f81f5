package mqtt_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"
)

// verdict is what a proxy does with a packet.
type verdict int

const (
	pass verdict = iota
	cutBefore
	cutAfter
	swallow
)

// proxy passes TCP connections on to a broker. It can cut them, at a certain packet too.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	watch func(toBroker bool, kind byte) verdict // called for every packet, or nil
	deaf  bool                                   // new connections are closed at once

	refuseBit bool // answer a CONNECT with the bridge bit as brokers do that do not know it
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
	if p.deaf {
		client.Close()
		broker.Close()
	}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(broker, client, true) })
	both.Go(func() { p.copy(client, broker, false) })
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, broker)
}

// copy passes packets on until one side fails, and closes both.
func (p *proxy) copy(to, from net.Conn, toBroker bool) {
	defer to.Close()
	defer from.Close()
	for {
		packet, err := readRaw(from)
		if err != nil {
			return
		}
		p.mu.Lock()
		v := pass
		if p.watch != nil {
			v = p.watch(toBroker, packet[0]>>4)
		}
		refuse := p.refuseBit && toBroker && packet[0]>>4 == packets.Connect && packet[8]&0x80 != 0
		p.mu.Unlock()
		if refuse {
			from.Write([]byte{packets.Connack << 4, 2, 0, packets.ErrRefusedBadProtocolVersion})
			return
		}
		if v == cutBefore {
			return
		}
		if v == swallow {
			continue
		}
		if _, err := to.Write(packet); err != nil || v == cutAfter {
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

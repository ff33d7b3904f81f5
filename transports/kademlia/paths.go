package kademlia

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multistream"
)

// probeTimeout is how long a connection may take to answer where there is another one to the same peer.
const probeTimeout = 5 * time.Second

// libp2p looks at the machine's own addresses once a minute. This node looks more often, and says meanwhile what libp2p does not know.
const (
	lookEvery  = 2 * time.Second
	libp2pLags = 90 * time.Second
)

// moves are the changes of this machine's own addresses.
type moves struct {
	mu      sync.Mutex
	now     map[string]bool
	changed map[string]time.Time // when an address came or went, unless libp2p must know by now
}

func newMoves() *moves { return &moves{changed: map[string]time.Time{}} }

// look finds out which addresses there are, and reports whether others have come and whether some have gone since the last look.
func (m *moves) look() (came, gone bool, err error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false, false, fmt.Errorf("addresses of this machine: %w", err)
	}
	now := map[string]bool{}
	for _, a := range addrs {
		if a, ok := a.(*net.IPNet); ok {
			now[a.IP.String()] = true
		}
	}
	came, gone = m.see(now)
	return came, gone, nil
}

// see takes what addresses there are. Link-local ones, which come and go with every container, lead to no node.
func (m *moves) see(now map[string]bool) (came, gone bool) {
	maps.DeleteFunc(now, func(ip string, _ bool) bool { return net.ParseIP(ip).IsLinkLocalUnicast() })
	m.mu.Lock()
	defer m.mu.Unlock()
	first := m.now == nil
	maps.DeleteFunc(m.changed, func(_ string, at time.Time) bool { return time.Since(at) > libp2pLags })
	for ip := range now {
		if !m.now[ip] && !first {
			m.changed[ip], came = time.Now(), true
		}
	}
	for ip := range m.now {
		if !now[ip] {
			m.changed[ip], gone = time.Now(), true
		}
	}
	m.now = now
	return came, gone
}

// has reports whether the machine has the address.
func (m *moves) has(ip net.IP) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now[ip.String()]
}

// correct returns the node's own addresses as they are, where libp2p gives those that it knows.
func (m *moves) correct(own []multiaddr.Multiaddr, listen []string) []multiaddr.Multiaddr {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.changed) == 0 {
		return own
	}
	own = slices.DeleteFunc(slices.Clone(own), func(a multiaddr.Multiaddr) bool {
		ip, err := manet.ToIP(a)
		_, changed := m.changed[ip.String()]
		return err == nil && changed && !m.now[ip.String()]
	})
	var came []multiaddr.Multiaddr
	for ip := range m.changed {
		if a, err := manet.FromIP(net.ParseIP(ip)); m.now[ip] && err == nil {
			came = append(came, a)
		}
	}
	for _, l := range listen {
		if a, err := multiaddr.NewMultiaddr(l); err == nil && !anyPort(a) && manet.IsIPUnspecified(a) {
			here, _ := manet.ResolveUnspecifiedAddress(a, came) // none, where no address of that kind has come
			own = append(own, here...)
		}
	}
	return multiaddr.Unique(own)
}

// watchMoves follows the machine to its new addresses, until the transport is closed. A connection by an address that is gone does not end
// by itself, and nothing comes to it any more.
func (t *Transport) watchMoves() {
	for {
		came, gone, err := t.moves.look()
		if err != nil {
			t.log.Debug("own addresses not seen", "error", err)
		}
		if gone {
			t.closeStranded()
		}
		if came || gone {
			t.log.Info("addresses of this machine have changed")
			t.wakeAbsent()
		}
		if !pause(t.ctx, lookEvery) {
			return
		}
	}
}

// closeStranded closes the connections by addresses that the machine has not any more. QUIC does not say which one it goes by.
func (t *Transport) closeStranded() {
	for _, c := range t.host.Network().Conns() {
		if ip, err := manet.ToIP(c.LocalMultiaddr()); err == nil && !ip.IsLinkLocalUnicast() && (ip.IsUnspecified() || !t.moves.has(ip)) {
			_ = c.Close()
		}
	}
}

// rivals closes, of several connections to a peer, those that are dead while another one is not: a peer that has connected once more may
// have moved, or may have lost what it had, and streams would still be opened on the old one. It closes, too, those over a relay while
// there is a direct one.
func (t *Transport) rivals(p *neighbour) {
	conns := t.host.Network().ConnsToPeer(p.id)
	if len(conns) < 2 || !p.probing.CompareAndSwap(false, true) {
		return
	}
	if !t.enter() {
		p.probing.Store(false)
		return
	}
	go func() {
		defer t.work.Done()
		defer p.probing.Store(false)
		type answer struct {
			conn network.Conn
			err  error
		}
		answers := make(chan answer, len(conns))
		for _, c := range conns {
			go func() { answers <- answer{c, t.probe(c)} }()
		}
		var alive, dead, relayed []network.Conn
		for range conns {
			switch a := <-answers; {
			case a.err != nil:
				t.log.Debug("one of several connections does not answer", "peer", p.label(), "address", a.conn.RemoteMultiaddr(), "error", a.err)
				dead = append(dead, a.conn)
			case way(a.conn) == wayRelayed:
				relayed = append(relayed, a.conn)
			default:
				alive = append(alive, a.conn)
			}
		}
		switch {
		case len(alive) > 0:
			dead = append(dead, relayed...)
		case len(relayed) == 0:
			return
		}
		for _, c := range dead {
			_ = c.Close()
		}
	}()
}

// Waits before another attempt to get through the routers between two nodes that are connected over a relay. libp2p makes some when such a
// connection begins, and by then a node that has just started does not know what its router makes of its address.
const (
	punchMin = 12 * time.Second
	punchMax = 2 * time.Hour
)

// punch lets the connection with the peer begin anew from time to time, less and less often, while it goes over a relay: for the blink of
// an eye that this takes, frames wait. Of two nodes one does so.
func (t *Transport) punch(p *neighbour) {
	if t.host.ID() > p.id || !t.overRelay(p) || !p.punching.CompareAndSwap(false, true) {
		return
	}
	if !t.enter() {
		p.punching.Store(false)
		return
	}
	go func() {
		defer t.work.Done()
		defer p.punching.Store(false)
		for wait := newBackoff(punchMin, punchMax); wait.sleep(t.ctx) && t.overRelay(p); {
			for _, c := range t.host.Network().ConnsToPeer(p.id) {
				if way(c) == wayRelayed { // a direct one may have come this moment
					_ = c.Close()
				}
			}
		}
	}()
}

// overRelay reports whether the peer is connected, and not directly.
func (t *Transport) overRelay(p *neighbour) bool {
	c := best(t.host.Network().ConnsToPeer(p.id))
	return c != nil && way(c) == wayRelayed
}

// probe asks for an answer over the connection.
func (t *Transport) probe(c network.Conn) error {
	ctx, cancel := context.WithTimeout(limited(t.ctx), probeTimeout)
	defer cancel()
	s, err := c.NewStream(ctx)
	if err != nil {
		return err
	}
	defer s.Reset()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	if err := s.SetProtocol(ping.ID); err != nil {
		return err
	}
	if err := multistream.SelectProtoOrFail(ping.ID, s); err != nil {
		return err
	}
	sent, back := make([]byte, ping.PingSize), make([]byte, ping.PingSize)
	_, _ = rand.Read(sent) // never fails
	if _, err := s.Write(sent); err != nil {
		return err
	}
	if _, err := io.ReadFull(s, back); err != nil {
		return err
	}
	if !bytes.Equal(sent, back) {
		return errors.New("another answer than was asked for")
	}
	return nil
}

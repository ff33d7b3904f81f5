package kademlia

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	pbv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/pb"

	"github.com/weft-relay/weft/transports"
)

// status is what the transport counts of itself, and when its state last changed.
type status struct {
	bytesIn, bytesOut atomic.Uint64
	reconnects        atomic.Uint64

	mu    sync.Mutex
	state transports.State
	since time.Time
}

// enter notes the state, and returns since when it lasts.
func (s *status) enter(state transports.State) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != state {
		s.state, s.since = state, time.Now()
	}
	return s.since
}

// Report says how the transport fares: it is up where a peer is connected, or none is listed.
func (t *Transport) Report() transports.Report {
	state, absent := t.state()
	r := transports.Report{
		State: state, Reconnects: t.status.reconnects.Load(), BytesIn: t.status.bytesIn.Load(), BytesOut: t.status.bytesOut.Load(),
		Since: t.status.enter(state), Mesh: t.mesh(), Metrics: t.metrics(),
	}
	if len(absent) > 0 {
		r.Detail = t.whyAbsent(absent)
	}
	return r
}

// state returns the state, and the names of the peers that are not connected.
func (t *Transport) state() (state transports.State, absent []string) {
	if !t.running() {
		return transports.Down, nil
	}
	for _, p := range t.peers {
		if p.absent() {
			absent = append(absent, p.name)
		}
	}
	if len(absent) > 0 && len(absent) == len(t.peers) {
		return transports.Connecting, absent
	}
	return transports.Up, absent
}

// noteState notes that the state may be another from now on.
func (t *Transport) noteState() {
	state, _ := t.state()
	t.status.enter(state)
}

// whyAbsent says which peers are not connected, and why the first is not.
func (t *Transport) whyAbsent(names []string) string {
	const most = 5
	listed := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		listed += fmt.Sprintf(" and %d more", more)
	}
	text := "not connected: " + listed
	for _, p := range t.peers {
		if p.name != names[0] {
			continue
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.trouble != nil {
			return fmt.Sprintf("%s (%s: %v)", text, p.name, p.trouble)
		}
	}
	return text
}

// plainDial puts what libp2p says of a failed connection into one line: for each address what went wrong.
func plainDial(err error) error {
	var dial *swarm.DialError
	if !errors.As(err, &dial) || len(dial.DialErrors) == 0 {
		return plainCause(err)
	}
	const most = 3
	tried := slices.DeleteFunc(slices.Clone(dial.DialErrors), func(e swarm.TransportError) bool {
		return errors.Is(e.Cause, swarm.ErrDialToSelf) || errors.Is(e.Cause, swarm.ErrNoTransport)
	})
	if len(tried) == 0 {
		tried = dial.DialErrors
	}
	var all []string
	for _, e := range tried[:min(len(tried), most)] {
		all = append(all, fmt.Sprintf("%s: %v", e.Address, plainCause(e.Cause)))
	}
	if more := len(tried) - most; more > 0 {
		all = append(all, fmt.Sprintf("%d more addresses", more))
	}
	return errors.New(strings.Join(all, ", "))
}

// plainCause says why one address does not lead to the peer.
func plainCause(err error) error {
	var another sec.ErrPeerIDMismatch
	var op *net.OpError
	var place client.ReservationError
	switch {
	case errors.As(err, &another):
		return fmt.Errorf("the node there has another key (it is %s); the peer has moved, or its key is listed wrongly", another.Actual)
	case err != nil && strings.Contains(err.Error(), "failed to negotiate security protocol"):
		return fmt.Errorf("what answers there is no node of this mesh, or network_key differs (%w)", plainNegotiation(err))
	case err != nil && strings.Contains(err.Error(), "protocols not supported: [/libp2p/circuit/relay/"):
		return errors.New("the node there is no relay; give it relay: {serve: true}")
	case errors.As(err, &place) && place.Status == pbv2.Status_PERMISSION_DENIED:
		return errors.New("the relay does not have this node in its peers")
	case errors.Is(err, swarm.ErrDialToSelf):
		return errors.New("this node itself listens there")
	case errors.Is(err, swarm.ErrNoTransport):
		return errors.New("neither TCP nor QUIC, or QUIC although this node has a network_key")
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.Is(err, swarm.ErrNoGoodAddresses), errors.Is(err, swarm.ErrNoAddresses):
		return errors.New("none of its addresses can be reached from here")
	case errors.As(err, &op):
		return op.Err
	}
	return err
}

// plainNegotiation says how an attempt to agree on encryption has ended.
func plainNegotiation(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("no answer in time")
	case errors.As(err, &op):
		return op.Err
	}
	_, cause, _ := strings.Cut(err.Error(), "failed to negotiate security protocol: ")
	return errors.New(cause)
}

// counts counts by kind.
type counts struct {
	mu sync.Mutex
	of map[string]float64
}

func (c *counts) add(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]float64{}
	}
	c.of[kind]++
}

func (c *counts) all() map[string]float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.of)
}

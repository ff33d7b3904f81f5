package kademlia

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/routing"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"
)

// neighbour is a node that this one keeps a connection to: a listed peer, or, without a name, a node to enter the mesh by.
type neighbour struct {
	name   string
	id     peer.ID
	door   bool                  // it serves to enter the mesh, and is neither peer nor relay
	fixed  []multiaddr.Multiaddr // where the configuration says it is
	origin *origin               // of a peer
	outbox *outbox

	met      atomic.Bool // it was connected before
	probing  atomic.Bool // which of its connections are alive is being found out
	punching atomic.Bool // a direct connection is tried for from time to time

	// The directory's, under its lock.
	pushed   uint64 // number of the own profile that it has
	pushing  bool   // it is being shown that
	meetings uint64 // connections with it

	awake chan struct{} // holds a token when another attempt to connect may fare better

	mu        sync.Mutex
	connected bool
	lost      bool      // the directory was asked in vain where it is, since it was connected last
	since     time.Time // of connected, or of not
	changed   chan struct{}
	trouble   error // why there is no connection, or no stream
}

func newNeighbour(name string, id peer.ID) *neighbour {
	return &neighbour{
		name: name, id: id, origin: newOrigin(), outbox: newOutbox(),
		awake: make(chan struct{}, 1), since: time.Now(), changed: make(chan struct{}),
	}
}

// wake tries to connect at once.
func (p *neighbour) wake() {
	select {
	case p.awake <- struct{}{}:
	default:
	}
}

// wakeAbsent tries at once to connect to the peers that are not.
func (t *Transport) wakeAbsent() {
	for _, p := range t.peers {
		if p.absent() {
			p.wake()
		}
	}
}

// setConnected notes what the network says, and reports whether that is new.
func (p *neighbour) setConnected(connected bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.connected == connected {
		return false
	}
	p.connected, p.lost, p.since, p.trouble = connected, false, time.Now(), nil
	close(p.changed)
	p.changed = make(chan struct{})
	return true
}

// lose notes that the neighbour is not where this node or the directory thinks it is.
func (p *neighbour) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = !p.connected
}

// isLost reports whether the neighbour is away, and not only not connected yet.
func (p *neighbour) isLost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

func (p *neighbour) state() (connected bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connected, p.changed
}

// awaitConnected waits for a connection, and reports whether ctx is still alive.
func (p *neighbour) awaitConnected(ctx context.Context) bool {
	for {
		connected, changed := p.state()
		if connected {
			return ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

func (p *neighbour) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && p.connected && errors.Is(p.trouble, errRefused) {
		return // it says more
	}
	p.trouble = err
}

// errRefused is what is known of a peer that resets a stream before it has read anything.
var errRefused = errors.New("it refuses what this node says: it does not list this node, or lists it with another key than `weft id` prints here")

// noteRefusal notes whether the connected peer refuses what this node says, and reports whether that has begun.
func (p *neighbour) noteRefusal(refused bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := errors.Is(p.trouble, errRefused)
	switch {
	case !refused && was:
		p.trouble = nil
	case refused && p.connected:
		p.trouble = errRefused
		return !was
	}
	return false
}

// Waits between one attempt to connect and the next.
const (
	dialMin     = time.Second
	dialMax     = 30 * time.Second
	dialTimeout = 15 * time.Second
	// enoughNodes is how many nodes of the directory are enough to do without those to enter it by, which all the others ask too.
	enoughNodes = 8
	// seekMax is the longest wait between one question to the directory where the neighbour is and the next.
	seekMax = 5 * time.Minute
)

// keep keeps a connection to the neighbour until the transport is closed. An absent one costs a timer.
func (t *Transport) keep(p *neighbour) {
	wait, seekWait := newBackoff(dialMin, dialMax), newBackoff(dialMin, seekMax)
	var seek time.Time // not before then
	var sought error   // what came of it, to be said behind what has failed
	for t.ctx.Err() == nil {
		connected, changed := p.state()
		if connected {
			wait.reset()
			seekWait.reset()
			seek = time.Time{}
			select {
			case <-changed:
				continue
			case <-t.ctx.Done():
				return
			}
		}
		var err error
		if t.needs(p) {
			err = t.dial(p)
		}
		if err != nil && !time.Now().Before(seek) {
			sought = t.seek(p)
			seek = time.Now().Add(seekWait.wait())
			if sought == nil {
				err = nil
			} else if t.dht.RoutingTable().Size() > 0 {
				p.lose()
				t.feeds.lost(p)
			}
		}
		if err != nil && sought != nil {
			err = fmt.Errorf("%w%w", err, sought)
		}
		if err != nil && t.ctx.Err() == nil {
			p.note(err)
			t.log.Debug("peer not reached", "peer", p.label(), "error", err)
		}
		timer := time.NewTimer(wait.wait())
		select {
		case <-changed:
		case <-p.awake:
			wait.reset()
			seekWait.reset()
			seek = time.Time{}
		case <-timer.C:
		case <-t.ctx.Done():
		}
		timer.Stop()
	}
}

// needs reports whether a connection to the neighbour is of use now.
func (t *Transport) needs(p *neighbour) bool {
	return !p.door || t.dht.RoutingTable().Size() < enoughNodes
}

func (p *neighbour) label() string {
	if p.name != "" {
		return p.name
	}
	return p.id.String()
}

// dial connects by the addresses that are known.
func (t *Transport) dial(p *neighbour) error {
	ctx, cancel := context.WithTimeout(limited(t.ctx), dialTimeout)
	defer cancel()
	if s, ok := t.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(p.id) // keep waits between attempts: libp2p, which would wait longer, need not
	}
	known := append(t.book.addrs(p.id), p.fixed...)
	known = append(known, t.host.Peerstore().Addrs(p.id)...)
	if len(known) == 0 {
		return errors.New("no address is known")
	}
	return plainDial(t.host.Connect(ctx, peer.AddrInfo{ID: p.id, Addrs: known}))
}

// seek connects by what the directory knows, after what is known here has failed. Its error goes on where the one of that ends.
func (t *Transport) seek(p *neighbour) error {
	if t.dht.RoutingTable().Size() == 0 {
		return errors.New(t.whyAlone(p))
	}
	ctx, cancel := context.WithTimeout(limited(t.ctx), 2*dialTimeout)
	defer cancel()
	t.lookups.add("address")
	found, err := t.dht.FindPeer(ctx, p.id)
	switch {
	case errors.Is(err, routing.ErrNotFound):
		return errors.New("; no other node knows where it is: it does not run, or not in this network, or has another key than is listed here")
	case err != nil:
		return fmt.Errorf("; the directory: %w", plainCause(err))
	}
	if err := t.host.Connect(ctx, found); err != nil {
		return fmt.Errorf("; where the directory has it: %w", plainDial(err))
	}
	return nil
}

// whyAlone says of a peer that nobody could be asked where else it is, and of the first node to enter the mesh by why it could not be.
func (t *Transport) whyAlone(p *neighbour) string {
	if p.name == "" {
		return ""
	}
	text := ", and no node is connected that could know one"
	if len(t.entries) == 0 {
		if t.ownEntry {
			text += "; a bootstrap or relay address ends in the ID of this node itself, that of another one belongs there"
		}
		return text
	}
	entry := t.entries[0]
	entry.mu.Lock()
	defer entry.mu.Unlock()
	if entry.trouble != nil {
		text += fmt.Sprintf("; %s: %v", entry.label(), entry.trouble)
	}
	return text
}

// limited allows streams over relays, which libp2p counts as second-rate.
func limited(ctx context.Context) context.Context {
	return network.WithAllowLimitedConn(ctx, "weft")
}

// absent reports whether there is no connection.
func (p *neighbour) absent() bool {
	connected, _ := p.state()
	return !connected
}

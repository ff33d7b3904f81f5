package kademlia

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	relayv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/multiformats/go-multiaddr"
)

// Waits between one request for a place at a relay and the next.
const (
	placeMin = time.Second
	placeMax = time.Minute
)

// serveRelay passes on what others send each other, where the configuration says so.
func (t *Transport) serveRelay() error {
	if !t.config.Relay.Serve {
		return nil
	}
	relay, err := relayv2.New(t.host, relayv2.WithResources(relayResources()), relayv2.WithACL(served{t}))
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	t.closing = append(t.closing, relay.Close)
	return nil
}

// served are those who get a place at this relay: its peers, and with a network_key whoever has it. To them anybody may connect, as he
// might without a relay.
type served struct{ t *Transport }

// AllowReserve implements relayv2.ACLFilter.
func (s served) AllowReserve(p peer.ID, _ multiaddr.Multiaddr) bool {
	n := s.t.byID[p]
	return s.t.config.NetworkKey != "" || n != nil && n.name != ""
}

// AllowConnect implements relayv2.ACLFilter.
func (s served) AllowConnect(peer.ID, multiaddr.Multiaddr, peer.ID) bool { return true }

// openRelays asks the relays of the configuration for places, and tells everybody which of them this node is reached over. libp2p would
// do so after minutes, give up a relay that is restarted for an hour, and tell nobody of one on the local network.
func (t *Transport) openRelays() error {
	relays := addrInfos(t.config.Relays)
	if len(relays) == 0 {
		return nil
	}
	told, err := t.host.EventBus().Emitter(new(event.EvtAutoRelayAddrsUpdated), eventbus.Stateful)
	if err != nil {
		return fmt.Errorf("relays: %w", err)
	}
	t.closing = append(t.closing, told.Close)
	type news struct {
		relay peer.ID
		addrs []multiaddr.Multiaddr
	}
	changes := make(chan news)
	for _, r := range relays {
		p := t.byID[r.ID]
		if p == nil {
			continue // this node itself: one list of nodes may serve all of them
		}
		var over []multiaddr.Multiaddr
		for _, a := range r.Addrs {
			if m, err := multiaddr.NewMultiaddr(a.String() + "/p2p/" + r.ID.String() + "/p2p-circuit"); err == nil {
				over = append(over, m)
			}
		}
		t.work.Go(func() {
			t.holdPlace(p, func(held bool) {
				n := news{relay: r.ID}
				if held {
					n.addrs = over
				}
				select {
				case changes <- n:
				case <-t.ctx.Done():
				}
			})
		})
	}
	t.work.Go(func() {
		held := map[peer.ID][]multiaddr.Multiaddr{}
		for {
			select {
			case n := <-changes:
				held[n.relay] = n.addrs
			case <-t.ctx.Done():
				return
			}
			var all []multiaddr.Multiaddr
			for _, r := range relays {
				all = append(all, held[r.ID]...)
			}
			_ = told.Emit(event.EvtAutoRelayAddrsUpdated{RelayAddrs: slices.Clone(all)}) // fails once it is closed
		}
	})
	return nil
}

// holdPlace keeps a place at the relay while it is connected, and tells when that begins and ends, until the transport is closed.
func (t *Transport) holdPlace(relay *neighbour, tell func(held bool)) {
	wait := newBackoff(placeMin, placeMax)
	var said string
	for relay.awaitConnected(t.ctx) {
		_, changed := relay.state()
		ctx, cancel := context.WithTimeout(t.ctx, dialTimeout)
		place, err := client.Reserve(ctx, t.host, peer.AddrInfo{ID: relay.id})
		cancel()
		pause := wait.wait()
		if err == nil {
			wait.reset()
			said = ""
			tell(true)
			pause = time.Until(place.Expiration) / 2
		} else if why := plainCause(err); t.ctx.Err() == nil && why.Error() != said {
			said = why.Error()
			t.log.Warn("relay gives no place; peers that cannot connect directly do not reach this node over it", "relay", relay.label(), "error", why)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-changed:
			tell(false)
		case <-t.ctx.Done():
		}
		timer.Stop()
	}
}

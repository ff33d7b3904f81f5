package kademlia

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Place is an address of a node, to give to the owners of others.
type Place struct {
	Address string // as they write it in bootstrap
	From    string // who reaches it, in plain words
	Far     bool   // nodes on other networks do
}

// Places returns the addresses to give away of the node whose key that is, those that most reach first, without starting it. Port 0 is
// another one at each start, and left out. What a router makes of an address, and what the configuration has wrong, is left out too.
func (c *Config) Places(key ed25519.PublicKey) ([]Place, error) {
	id, err := PeerID(key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	var own []multiaddr.Multiaddr
	interfaces, err := manet.InterfaceMultiaddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %w", err)
	}
	for _, a := range c.listen() {
		if m, err := multiaddr.NewMultiaddr(a); err == nil && !anyPort(m) {
			here, _ := manet.ResolveUnspecifiedAddress(m, interfaces) // none, where no interface has an address of that kind
			own = append(own, here...)
		}
	}
	var all []Place
	add := func(from string, far bool, addrs ...string) {
		for _, a := range addrs {
			all = append(all, Place{a + "/p2p/" + id.String(), from, far})
		}
	}
	if len(c.listen()) > 0 {
		add("announced", true, c.Announce...)
	}
	add("from everywhere", true, where(own, manet.IsPublicAddr)...)
	for _, a := range c.Relays {
		add("over a relay", true, a+"/p2p-circuit")
	}
	add("from the local network", false, where(own, isLocal)...)
	if len(all) == 0 {
		add("from this machine alone", false, where(own, manet.IsIPLoopback)...)
	}
	return all, nil
}

func anyPort(m multiaddr.Multiaddr) bool {
	for _, protocol := range []int{multiaddr.P_TCP, multiaddr.P_UDP} {
		if port, err := m.ValueForProtocol(protocol); err == nil {
			return port == "0"
		}
	}
	return true
}

// isLocal reports whether only machines nearby reach the address. Of a link-local one each of them must name its own interface.
func isLocal(m multiaddr.Multiaddr) bool {
	return !manet.IsPublicAddr(m) && !manet.IsIPLoopback(m) && !manet.IsIP6LinkLocal(m)
}

func where(addrs []multiaddr.Multiaddr, is func(multiaddr.Multiaddr) bool) (all []string) {
	for _, a := range addrs {
		if is(a) && !slices.Contains(all, a.String()) {
			all = append(all, a.String())
		}
	}
	return all
}

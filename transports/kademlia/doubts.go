package kademlia

import (
	"fmt"
	"iter"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Doubts returns what the configuration may say, and hardly means, each as "KEY: text": a node runs with it.
func (c *Config) Doubts() []error {
	var all []error
	doubt := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	if len(c.listen()) == 0 {
		if len(c.Bootstrap) == 0 && len(c.Relays) == 0 {
			doubt("listen: accepts no connection, and this node knows none to make; give bootstrap, or listen on something")
		}
		if c.Relay.Serve {
			doubt("relay.serve: nobody can ask this node to pass anything on, for it listens on nothing; give listen, or take it out")
		}
	}
	if c.NetworkKey == "" {
		return all
	}
	for _, of := range []struct {
		key   string
		addrs []string
	}{{"announce", c.Announce}, {"bootstrap", c.Bootstrap}, {"relays", c.Relays}} {
		for i, a := range of.addrs {
			if isQUIC(a) {
				doubt("%s[%d]: never used: it is QUIC, and network_key works over TCP alone; give the address with /tcp", of.key, i)
			}
		}
	}
	return all
}

// Listeners gives what is listened on over TCP, as HOST:PORT, by the key that says so.
func (c *Config) Listeners() iter.Seq2[string, string] {
	return func(yield func(key, address string) bool) {
		for i, a := range c.listen() {
			key := "listen"
			if c.Listen != nil {
				key = fmt.Sprintf("listen[%d]", i)
			}
			m, err := multiaddr.NewMultiaddr(a)
			if err != nil || isQUIC(a) {
				continue
			}
			if _, address, err := manet.DialArgs(m); err == nil && !yield(key, address) {
				return
			}
		}
	}
}

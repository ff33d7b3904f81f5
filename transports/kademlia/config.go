package kademlia

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Config says how a node takes part in the mesh. Everything has a default: a config without any key is a node that others can reach
// on port 4001, and that finds its peers on the local network by itself.
type Config struct {
	// Listen are the multiaddresses to accept connections on, TCP (/ip4/0.0.0.0/tcp/4001) and QUIC (/ip4/0.0.0.0/udp/4001/quic-v1).
	// Default: both, on port 4001 of every interface, or TCP alone with network_key. An empty list accepts none.
	Listen []string `yaml:"listen" doc:"list of multiaddresses to accept connections on: /ip4/0.0.0.0/tcp/4001 is TCP"`
	// Announce are addresses that others reach this node at and that it cannot find out, such as a forwarded port of a router.
	Announce []string `yaml:"announce" doc:"list of multiaddresses that others reach this node at and that it cannot find out"`
	// Bootstrap are nodes to enter the mesh by, each as /ip4/HOST/tcp/PORT/p2p/ID (or /dns4, /ip6, /udp/PORT/quic-v1). Any node can be one.
	Bootstrap []string `yaml:"bootstrap" doc:"list of the nodes to enter the mesh by, each as weft id prints it there"`
	// MDNS finds nodes on the local network. Default true.
	MDNS bool `yaml:"mdns" doc:"finds nodes of the same network on the local network"`
	// PortMapping asks the router, by UPnP or NAT-PMP, to forward the port. Default true.
	PortMapping bool `yaml:"port_mapping" doc:"asks the router, by UPnP or NAT-PMP, to forward the port that is listened on"`
	// Network keeps meshes apart: nodes of different networks share no directory. Default weft.
	Network string `yaml:"network" doc:"name; nodes of different networks share no directory, and do not find each other"`
	// NetworkKey, 64 hexadecimal digits that all nodes share, keeps out whoever does not have it. It works over TCP alone.
	NetworkKey string `yaml:"network_key" weft:"secret" doc:"64 hexadecimal digits, the same on all nodes (openssl rand -hex 32)"`
	// Relays are nodes that pass on what comes for this one, where nobody reaches it directly; written as in bootstrap.
	Relays []string `yaml:"relays" doc:"list of nodes that pass on what comes for this one where nobody reaches it directly"`
	Relay  Relay    `yaml:"relay" doc:"what this node passes on for others"`
	// Refresh is how often the own profile is put into the directory again, and those of peers out of reach are looked up. Default 10m.
	Refresh time.Duration `yaml:"refresh" doc:"how often the own profile is put into the directory again"`
	// Log is what is kept of each feed, the own one and those of the peers: what a node missed for longer is lost to it.
	Log Log `yaml:"log" doc:"what is kept of each feed"`

	Node    string                             `yaml:"-"` // this node's name among its peers
	Key     func() (ed25519.PrivateKey, error) `yaml:"-"` // its identity, called by Start
	Peers   []Peer                             `yaml:"-"` // the nodes that data may go to and come from
	Follow  []string                           `yaml:"-"` // names of the peers whose feeds it wants
	DataDir string                             `yaml:"-"` // where feeds and addresses are kept
}

// Peer is a node that this one knows by its key.
type Peer struct {
	Name string
	Key  ed25519.PublicKey
}

// Relay says what this node passes on for others.
type Relay struct {
	Serve bool `yaml:"serve" doc:"gives a place to this node's peers, and with network_key to all who have it"`
}

// Log bounds what is kept of one feed.
type Log struct {
	Bytes int64         `yaml:"bytes" weft:"size" doc:"size of what is kept of each feed"`
	Age   time.Duration `yaml:"age" doc:"older entries of a feed are dropped, at least 1m"`
}

// SetDefaults fills in what was left out.
func (c *Config) SetDefaults() {
	c.MDNS, c.PortMapping = true, true
	c.Network, c.Refresh = "weft", 10*time.Minute
	c.Log = Log{Bytes: 64 << 20, Age: 7 * 24 * time.Hour}
}

var (
	defaultListen = []string{
		"/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001",
		"/ip4/0.0.0.0/udp/4001/quic-v1", "/ip6/::/udp/4001/quic-v1",
	}
	validNetwork = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)
)

// listen returns the addresses to listen on.
func (c *Config) listen() (all []string) {
	if c.Listen != nil {
		return c.Listen
	}
	for _, a := range defaultListen {
		if c.NetworkKey == "" || !isQUIC(a) {
			all = append(all, a)
		}
	}
	return all
}

func isQUIC(addr string) bool { return strings.Contains(addr, "/quic") }

// Validate reports everything that is wrong with the configuration's own keys, without connecting.
func (c *Config) Validate() error {
	var errs []error
	check := func(key string, addrs []string, judge func(string) error) {
		for i, a := range addrs {
			if err := judge(a); err != nil {
				errs = append(errs, fmt.Errorf("%s[%d]: %w", key, i, err))
			}
		}
	}
	check("listen", c.Listen, c.checkListen)
	check("announce", c.Announce, checkAnnounced)
	check("bootstrap", c.Bootstrap, checkNode)
	check("relays", c.Relays, checkNode)
	if !validNetwork.MatchString(c.Network) {
		errs = append(errs, fmt.Errorf("network: %q is not a name; use 1 to 32 of a-z, 0-9, _ and -", c.Network))
	}
	if key, err := hex.DecodeString(c.NetworkKey); c.NetworkKey != "" && (err != nil || len(key) != 32) {
		errs = append(errs, errors.New("network_key: not 64 hexadecimal digits; `openssl rand -hex 32` makes one")) // the key itself is a secret
	}
	if c.Refresh < time.Second || c.Refresh > maxRefresh {
		errs = append(errs, fmt.Errorf("refresh: %v is not in 1s to %v", c.Refresh, maxRefresh))
	}
	if c.Log.Bytes < minLog {
		errs = append(errs, fmt.Errorf("log.bytes: %d is less than 1MiB", c.Log.Bytes))
	}
	if c.Log.Age < time.Minute {
		errs = append(errs, fmt.Errorf("log.age: %v is less than 1m", c.Log.Age))
	}
	return errors.Join(errs...)
}

const (
	maxRefresh = 12 * time.Hour // a profile is gone from the directory after recordAge
	minLog     = 1 << 20
)

func (c *Config) checkListen(a string) error {
	m, err := parse(a)
	if err != nil {
		return fmt.Errorf("%w; write /ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/udp/4001/quic-v1", err)
	}
	if _, id := peer.SplitAddr(m); id != "" {
		return fmt.Errorf("%q names a node; an address to listen on ends before /p2p", a)
	}
	ip, err := manet.ToIP(m)
	if err != nil {
		return fmt.Errorf("%q has no IP address; listen on one that begins with /ip4 or /ip6", a)
	}
	family := "ip4"
	if ip.To4() == nil {
		family = "ip6"
	}
	switch protocols(m) {
	case "tcp", "udp/quic-v1":
		return c.checkTCP(a)
	}
	return fmt.Errorf("%q is neither TCP nor QUIC; write /%s/%s/tcp/4001 or /%[2]s/%[3]s/udp/4001/quic-v1", a, family, ip)
}

// protocols returns the names of what an address says after the IP address.
func protocols(m multiaddr.Multiaddr) string {
	var names []string
	for _, part := range m {
		switch part.Protocol().Code {
		case multiaddr.P_IP4, multiaddr.P_IP6, multiaddr.P_IP6ZONE:
		default:
			names = append(names, part.Protocol().Name)
		}
	}
	return strings.Join(names, "/")
}

func (c *Config) checkTCP(a string) error {
	if isQUIC(a) && c.NetworkKey != "" {
		return fmt.Errorf("%q is QUIC, and network_key works over TCP alone; take it out, or do without network_key", a)
	}
	return nil
}

func checkAnnounced(a string) error {
	m, err := parse(a)
	if err != nil {
		return fmt.Errorf("%w; write it as in /ip4/203.0.113.7/tcp/4001", err)
	}
	if _, id := peer.SplitAddr(m); id != "" {
		return fmt.Errorf("%q names a node; an address to announce ends before /p2p, and is this node's", a)
	}
	return checkReach(a, m)
}

// checkReach judges an address that somebody is to connect to, of which m is what stands before the node's ID.
func checkReach(a string, m multiaddr.Multiaddr) error {
	before, _, _ := strings.Cut(m.String(), "/p2p/") // of an address over a relay, the relay's
	way, err := multiaddr.NewMultiaddr(before)
	if err != nil || len(way) == 0 || way[0].Protocol().Code == multiaddr.P_DNSADDR { // a name that stands for whole addresses
		return nil
	}
	switch protocols(way) {
	case "tcp", "udp/quic-v1", "dns/tcp", "dns4/tcp", "dns6/tcp", "dns/udp/quic-v1", "dns4/udp/quic-v1", "dns6/udp/quic-v1":
		return nil
	default:
		return fmt.Errorf("%q is neither TCP nor QUIC; behind the host stands /tcp/PORT or /udp/PORT/quic-v1", a)
	}
}

// checkNode judges the address of a node, which says whose key to expect there.
func checkNode(a string) error {
	if _, err := parse(a); err != nil {
		return fmt.Errorf("%w; write it as in /ip4/203.0.113.7/tcp/4001/p2p/ID, as `weft id` prints it there", err)
	}
	info, err := peer.AddrInfoFromString(a)
	switch {
	case err == nil && len(info.Addrs) > 0:
		return checkReach(a, info.Addrs[0])
	case err != nil:
		return fmt.Errorf("%q does not end in /p2p/ID; paste the whole address that `weft id` prints there", a)
	case len(info.Addrs) == 0:
		return fmt.Errorf("%q says who, and not where; paste the whole address that `weft id` prints there", a)
	}
	return nil
}

// parse reads a multiaddress. Its error says in one clause what is wrong.
func parse(a string) (multiaddr.Multiaddr, error) {
	m, err := multiaddr.NewMultiaddr(a)
	if err == nil {
		return m, nil
	}
	_, why, _ := strings.Cut(err.Error(), fmt.Sprintf("%q: ", a))
	why, _, _ = strings.Cut(why, ": failed to parse")
	return nil, fmt.Errorf("%q is not a multiaddress (%s)", a, why)
}

// onlyLoopback reports whether no other machine can reach what is listened on.
func onlyLoopback(addrs []string) bool {
	for _, a := range addrs {
		m, err := multiaddr.NewMultiaddr(a)
		if err != nil {
			return false
		}
		ip, err := manet.ToIP(m)
		if addr, ok := netip.AddrFromSlice(ip); err != nil || !ok || !addr.IsLoopback() {
			return false
		}
	}
	return true
}

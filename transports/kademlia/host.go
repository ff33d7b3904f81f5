package kademlia

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Connections beyond the most are closed, down to the least and those that are protected: of peers, of gossip, and of the two buckets of
// the directory that half and a quarter of all nodes belong to, which are 40. 96 + 40 protected ones were more than the most: in a mesh of
// 200 nodes each stayed full, at 104 connections and 18 MiB in the mean, and refused whoever came. These are the numbers of IPFS nodes.
const (
	leastConns = 32
	mostConns  = 96
	// graceTime is how long a new connection is kept in any case.
	graceTime = 20 * time.Second
	// acceptedConns is how many strangers come in at a time: room for those who come before others are closed.
	acceptedConns = 128
)

// PeerID returns the name that the owner of the key has in the mesh: libp2p's, which is the key itself.
func PeerID(key ed25519.PublicKey) (peer.ID, error) {
	public, err := crypto.UnmarshalEd25519PublicKey(key)
	if err != nil {
		return "", err
	}
	return peer.IDFromPublicKey(public)
}

// newHost makes the node's end of the mesh, which does not listen yet: libp2p, where it cannot listen, leaves behind what it has started.
func newHost(c *Config, key ed25519.PrivateKey, known []peer.ID, moves *moves, traffic metrics.Reporter) (host.Host, error) {
	private, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if os.Getenv("GOLOG_LOG_LEVEL") == "" { // else libp2p writes to standard error, some of it whenever a stranger wants
		gologshim.SetDefaultHandler(slog.DiscardHandler)
	}
	options := []libp2p.Option{
		libp2p.Identity(private),
		libp2p.UserAgent("weft"),
		libp2p.BandwidthReporter(traffic),
		libp2p.DisableMetrics(), // of libp2p's own registry
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.EnableHolePunching(),
		libp2p.EnableNATService(),
		libp2p.EnableAutoNATv2(),
		libp2p.NoListenAddrs, libp2p.EnableRelay(), // the former turns the latter off
	}
	listen := c.listen()
	if c.NetworkKey == "" {
		options = append(options, libp2p.Transport(libp2pquic.NewTransport))
	} else {
		psk, err := hex.DecodeString(c.NetworkKey)
		if err != nil {
			return nil, fmt.Errorf("network_key: %w", err)
		}
		options = append(options, libp2p.PrivateNetwork(pnet.PSK(psk)))
	}
	if c.PortMapping && len(listen) > 0 && !onlyLoopback(listen) {
		options = append(options, libp2p.NATPortMap())
	}
	announced := withAnnounced(c.Announce)
	options = append(options, libp2p.AddrsFactory(func(own []multiaddr.Multiaddr) []multiaddr.Multiaddr {
		return announced(moves.correct(own, listen))
	}))
	manager, err := connmgr.NewConnManager(leastConns, mostConns+len(known), connmgr.WithGracePeriod(graceTime))
	if err != nil {
		return nil, err
	}
	resources, err := newResources(known)
	if err != nil {
		return nil, errors.Join(err, manager.Close())
	}
	options = append(options, libp2p.ConnectionManager(manager), libp2p.ResourceManager(resources)) // which the host closes
	h, err := libp2p.New(options...)
	if err != nil {
		return nil, fmt.Errorf("libp2p: %w", err)
	}
	return h, nil
}

// listen accepts connections on the addresses. It fails where none of several can be had; of some, it logs why not.
func (t *Transport) listen() error {
	addrs := t.config.listen()
	var errs []error
	taken := false
	for _, a := range addrs {
		m, err := multiaddr.NewMultiaddr(a)
		if err == nil {
			err = t.listenOn(m)
		}
		if err != nil && strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) { // QUIC wraps it in words
			taken = true
			err = fmt.Errorf("another program, or another weft, listens there; end it, or give listen with another port (%w)", syscall.EADDRINUSE)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("listen on %s: %w", a, err))
		}
	}
	if len(errs) > 0 && len(errs) == len(addrs) {
		return errors.Join(errs...)
	}
	level := slog.LevelWarn
	if t.config.Listen == nil && !taken {
		level = slog.LevelInfo // a machine need not have all that the default names
	}
	for _, err := range errs {
		t.log.Log(t.ctx, level, "one of several addresses is not listened on", "error", err)
	}
	return nil
}

// listenOn accepts connections on one address. libp2p lets several processes of one user share a TCP port, and each connection would come
// to any of them: so it is tried first whether the port is free.
func (t *Transport) listenOn(m multiaddr.Multiaddr) error {
	if kind, address, err := manet.DialArgs(m); err == nil && strings.HasPrefix(kind, "tcp") && !anyPort(m) {
		free, err := new(net.ListenConfig).Listen(t.ctx, kind, address)
		if err != nil {
			return err
		}
		if err := free.Close(); err != nil {
			return err
		}
	}
	return t.host.Network().Listen(m)
}

// addrInfos returns the nodes that the addresses, which [Config.Validate] has seen, lead to.
func addrInfos(addrs []string) (all []peer.AddrInfo) {
	byID := map[peer.ID]int{}
	for _, a := range addrs {
		info, err := peer.AddrInfoFromString(a)
		if err != nil {
			continue
		}
		i, known := byID[info.ID]
		if !known {
			byID[info.ID] = len(all)
			all = append(all, *info)
			continue
		}
		all[i].Addrs = append(all[i].Addrs, info.Addrs...)
	}
	return all
}

func withAnnounced(addrs []string) func([]multiaddr.Multiaddr) []multiaddr.Multiaddr {
	var announced []multiaddr.Multiaddr
	for _, a := range addrs {
		if m, err := multiaddr.NewMultiaddr(a); err == nil {
			announced = append(announced, m)
		}
	}
	return func(own []multiaddr.Multiaddr) []multiaddr.Multiaddr {
		return multiaddr.Unique(append(slices.Clip(announced), own...))
	}
}

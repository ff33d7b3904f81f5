package kademlia

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"golang.org/x/sync/semaphore"
)

// Transport carries frames over a mesh of the nodes themselves. It is safe for concurrent use.
type Transport struct {
	config    Config
	log       *slog.Logger
	status    status
	lookups   counts       // of the directory, by kind
	answers   counts       // to what other nodes ask the directory, by kind
	gossiped  counts       // messages, by what became of them
	reachable atomic.Int32 // network.Reachability
	traffic   *metrics.BandwidthCounter
	room      *semaphore.Weighted // for direct frames in memory

	peers    []*neighbour // listed
	entries  []*neighbour // nodes to enter the mesh by, that are not listed
	ownEntry bool         // this node was given as one of them
	byName   map[string]*neighbour
	byID     map[peer.ID]*neighbour

	mu      sync.Mutex
	refused map[peer.ID]bool // that the log names
	started bool
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	taking  context.Context // ends before ctx: with what subscribers take
	part    context.CancelFunc
	work    sync.WaitGroup

	key       crypto.PrivKey
	host      host.Host
	dht       *dht.IpfsDHT
	book      *book
	moves     *moves
	directory *directory
	feeds     *feeds
	closing   []func() error // what Start has opened: last first
}

var errClosed = errors.New("transport is not started, or closed")

// New returns a transport that is not started. It opens nothing.
func New(c Config, log *slog.Logger) (*Transport, error) {
	t := &Transport{
		config: c, log: log, traffic: metrics.NewBandwidthCounter(), room: semaphore.NewWeighted(inboxBytes), moves: newMoves(),
		byName: map[string]*neighbour{}, byID: map[peer.ID]*neighbour{}, refused: map[peer.ID]bool{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.taking, t.part = context.WithCancel(t.ctx)
	err := c.Validate()
	for _, p := range c.Peers {
		id, keyErr := PeerID(p.Key)
		if keyErr != nil {
			err = errors.Join(err, fmt.Errorf("peer %s: %w", p.Name, keyErr))
			continue
		}
		if twice := t.byID[id]; twice != nil {
			err = errors.Join(err, fmt.Errorf("peer %q has the key of peer %q; each node has its own", p.Name, twice.name))
			continue
		}
		if t.byName[p.Name] != nil || p.Name == c.Node || p.Name == "" {
			err = errors.Join(err, fmt.Errorf("peer %q: its name is another node's, or empty; each node has its own", p.Name))
			continue
		}
		n := newNeighbour(p.Name, id)
		t.peers = append(t.peers, n)
		t.byName[p.Name], t.byID[id] = n, n
	}
	if err != nil {
		return nil, err
	}
	for _, info := range addrInfos(slices.Concat(c.Bootstrap, c.Relays)) {
		n, known := t.byID[info.ID]
		if !known {
			n = newNeighbour("", info.ID)
			n.door = !slices.ContainsFunc(addrInfos(c.Relays), func(r peer.AddrInfo) bool { return r.ID == info.ID })
			t.entries = append(t.entries, n)
			t.byID[info.ID] = n
		}
		n.fixed = append(n.fixed, info.Addrs...)
	}
	t.directory = newDirectory(t)
	t.feeds = &feeds{t: t, byOrigin: map[peer.ID]*followed{}}
	return t, nil
}

// Start listens and begins looking for the peers. It fails where none of the addresses can be listened on.
func (t *Transport) Start(context.Context) error {
	t.mu.Lock()
	if t.started || t.taking.Err() != nil {
		t.mu.Unlock()
		return errors.New("transport was started before")
	}
	err := t.begin()
	t.mu.Unlock()
	t.noteState()
	if err != nil {
		err = errors.Join(err, t.shut())
		t.work.Wait()
		err = errors.Join(err, t.feeds.close())
	}
	return err
}

// begin opens everything and starts what runs until Close, or ends the transport. It is called under the lock: who enters meanwhile
// waits until all is there.
func (t *Transport) begin() error {
	if err := t.open(); err != nil {
		t.cancel()
		return err
	}
	t.started = true
	for _, p := range t.peers {
		t.work.Go(func() { t.deliver(p) })
	}
	for _, p := range slices.Concat(t.entries, t.peers) {
		t.work.Go(func() { t.keep(p) })
	}
	t.work.Go(func() { t.directory.run(t.ctx) })
	return nil
}

// open opens everything, or what it can until an error.
func (t *Transport) open() error {
	private, err := t.config.Key()
	if err != nil {
		return err
	}
	if t.key, err = crypto.UnmarshalEd25519PrivateKey(private); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	id, err := peer.IDFromPrivateKey(t.key)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if p := t.byID[id]; p != nil && p.name != "" {
		return fmt.Errorf("peer %q has this node's own key; list the others only, each with the key that `weft id` prints there", p.name)
	}
	t.ownEntry = t.byID[id] != nil
	t.entries = slices.DeleteFunc(t.entries, func(p *neighbour) bool { return p.id == id }) // one list of nodes may serve all of them
	delete(t.byID, id)
	if err := os.MkdirAll(t.config.DataDir, 0o700); err != nil {
		return err
	}
	if t.book, err = openBook(t.config.DataDir); err != nil {
		t.log.Warn("where peers were is forgotten, they are looked up", "error", err)
	}
	var known []peer.ID
	for _, p := range slices.Concat(t.entries, t.peers) {
		known = append(known, p.id)
	}
	if t.host, err = newHost(&t.config, private, known, t.moves, t.traffic); err != nil {
		return err
	}
	t.closing = append(t.closing, t.host.Close)
	for _, p := range slices.Concat(t.entries, t.peers) {
		if !p.door {
			t.host.ConnManager().Protect(p.id, "weft")
		}
	}
	connectedness, err := t.host.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged), eventbus.BufSize(256))
	if err != nil {
		return err
	}
	identified, err := t.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted), eventbus.BufSize(256))
	if err != nil {
		return errors.Join(err, connectedness.Close())
	}
	reachability, err := t.host.EventBus().Subscribe(new(event.EvtLocalReachabilityChanged))
	if err != nil {
		return errors.Join(err, connectedness.Close(), identified.Close())
	}
	t.closing = append(t.closing, connectedness.Close, identified.Close, reachability.Close)
	t.serve(protocolDirect, t.receive)
	t.serve(protocolProfile, t.directory.receive)
	for _, open := range []func() error{t.openDHT, t.openFeeds, t.listen, t.openMDNS, t.serveRelay, t.openRelays} {
		if err := open(); err != nil {
			return err
		}
	}
	t.work.Go(func() { t.watchConnections(connectedness, identified, reachability) })
	t.work.Go(t.watchMoves)
	return nil
}

// serve answers a protocol to listed peers alone: to anybody else a stream is reset before a byte of it is read.
func (t *Transport) serve(id protocol.ID, answer func(*neighbour, *conn) error) {
	t.host.SetStreamHandler(id, func(s network.Stream) {
		p := t.byID[s.Conn().RemotePeer()]
		if p == nil || p.name == "" {
			t.refuse(s.Conn())
			_ = s.ResetWithError(notListed)
			return
		}
		t.handle(s, func(c *conn) error { return answer(p, c) })
	})
}

// notListed is the code with which a stream of a node that is not listed is reset.
const notListed network.StreamErrorCode = 0x57454654

// mostRefused is how many nodes that are not listed the log names.
const mostRefused = 16

// refuse logs, once for a node, that one that is not listed takes this one for its peer: one of the two lists may be what is wrong.
func (t *Transport) refuse(c network.Conn) {
	id := c.RemotePeer()
	public, err := id.ExtractPublicKey()
	if err != nil {
		return
	}
	key, err := public.Raw()
	if err != nil {
		return
	}
	t.mu.Lock()
	said := t.refused[id] || len(t.refused) >= mostRefused
	if !said {
		t.refused[id] = true
	}
	t.mu.Unlock()
	if !said {
		t.log.Warn("refused a node that is not in peers; if it is to be one, list it there with this key",
			"key", "ed25519:"+base64.RawURLEncoding.EncodeToString(key), "address", c.RemoteMultiaddr())
	}
}

// handle answers a stream, until that ends or the transport is closed.
func (t *Transport) handle(s network.Stream, answer func(*conn) error) {
	if !t.enter() {
		_ = s.Reset()
		return
	}
	defer t.work.Done()
	defer context.AfterFunc(t.ctx, func() { _ = s.Reset() })()
	if err := answer(newConn(s)); err != nil {
		_ = s.Reset()
		t.log.Debug("stream has ended", "from", s.Conn().RemotePeer(), "protocol", s.Protocol(), "error", err)
		return
	}
	_ = s.Close()
}

// enter counts work in, unless the transport is closed.
func (t *Transport) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	t.work.Add(1)
	return true
}

// Close ends everything that the transport has started.
func (t *Transport) Close() error {
	t.mu.Lock()
	if !t.started {
		t.mu.Unlock()
		return nil
	}
	t.started = false
	t.part()
	t.mu.Unlock()
	t.awaitConfirmed()
	t.cancel()
	err := t.shut()
	t.work.Wait()
	return errors.Join(err, t.feeds.close())
}

func (t *Transport) shut() error {
	var errs []error
	for _, end := range slices.Backward(t.closing) {
		errs = append(errs, end())
	}
	t.closing = nil
	return errors.Join(errs...)
}

func (t *Transport) running() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.started
}

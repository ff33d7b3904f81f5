package kademlia

import (
	"context"
	"crypto/ed25519"
	"net"
	"path/filepath"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/semaphore"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

// Offered reports whether the directory was told that this node follows a peer's feed.
func (t *Transport) Offered(peer string) bool {
	for _, f := range t.feeds.followed {
		if f.peer.name == peer {
			return f.offered.Load() > 0
		}
	}
	return false
}

// Mesh and Metrics are those of the report.
func (t *Transport) Mesh() *transports.Mesh       { return t.Report().Mesh }
func (t *Transport) Metrics() []transports.Metric { return t.Report().Metrics }

// Send sends one frame by a stream of its own.
func (t *Transport) Send(topic string, frame *message.Message) <-chan error {
	return t.Stream(topic)(frame)
}

// What tests of the limits compare with.
const (
	StallTime    = stallTime
	MaxFrame     = maxFrame
	MaxRecord    = maxRecord
	WindowFrames = windowFrames
)

// pipeStream is a stream over a connection in memory.
type pipeStream struct {
	network.Stream
	pipe net.Conn
}

func (p pipeStream) Read(b []byte) (int, error)         { return p.pipe.Read(b) }
func (p pipeStream) Write(b []byte) (int, error)        { return p.pipe.Write(b) }
func (p pipeStream) Close() error                       { return p.pipe.Close() }
func (p pipeStream) Reset() error                       { return p.pipe.Close() }
func (p pipeStream) SetReadDeadline(t time.Time) error  { return p.pipe.SetReadDeadline(t) }
func (p pipeStream) SetWriteDeadline(t time.Time) error { return p.pipe.SetWriteDeadline(t) }

// ReadBytes reads a string as the protocols do.
func ReadBytes(c net.Conn, most int) ([]byte, error) { return newConn(pipeStream{pipe: c}).bytes(most) }

// ReceiveDirect takes the frames of the peer from the connection, as from a stream that the peer has opened.
func ReceiveDirect(t *Transport, peer string, c net.Conn) error {
	return t.receive(t.byName[peer], newConn(pipeStream{pipe: c}))
}

// Deliver sends what waits for the peer over the connection, as over a stream to the peer, until that breaks.
func Deliver(t *Transport, peer string, c net.Conn) error {
	return t.deliverOn(t.byName[peer], newConn(pipeStream{pipe: c}))
}

// Running makes a transport that was not started take frames.
func Running(t *Transport) *Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started = true
	return t
}

// CloseOutbox does for the frames to the peer what Close does.
func CloseOutbox(t *Transport, peer string) { t.byName[peer].outbox.close(errClosed) }

// LimitInbox bounds the direct frames in memory.
func LimitInbox(t *Transport, bytes int64) { t.room = semaphore.NewWeighted(bytes) }

// RecordKey is where the directory keeps the record of a node.
var RecordKey = recordKey

// SignRecord returns a record as it is sent.
func SignRecord(key ed25519.PrivateKey, seq uint64, profile []byte) []byte {
	private, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		panic(err)
	}
	signed, err := record{seq, profile}.sign(private)
	if err != nil {
		panic(err)
	}
	return signed
}

// NewResources returns the limits of a node whose configuration names these.
var NewResources = newResources

// Break breaks the connections to the peers, or only the streams that carry frames.
func Break(t *Transport, peers []string, connections bool) {
	for _, name := range peers {
		p := t.byName[name]
		if p == nil {
			continue
		}
		for _, c := range t.host.Network().ConnsToPeer(p.id) {
			if connections {
				_ = c.Close()
				continue
			}
			for _, s := range c.GetStreams() {
				if s.Protocol() == protocolDirect {
					_ = s.Reset()
				}
			}
		}
	}
}

// DialWaits are the waits between attempts to connect.
func DialWaits(count int) (all []time.Duration) {
	wait := newBackoff(dialMin, dialMax)
	for range count {
		all = append(all, wait.wait())
	}
	return all
}

// OpenRecord judges a record of the node.
func OpenRecord(id peer.ID, data []byte) error {
	_, err := openRecord(id, data)
	return err
}

// KeepRecord judges a record as those do who keep it for others.
func KeepRecord(key string, data []byte) error { return validator{}.Validate(key, data) }

// SignEntry returns an entry of a feed as it is sent.
func SignEntry(key ed25519.PrivateKey, epoch, number uint64, uuid string, payload []byte) []byte {
	private, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		panic(err)
	}
	e, err := signEntry(private, place{epoch, number}, uuid, payload)
	if err != nil {
		panic(err)
	}
	return e.raw
}

// OpenEntry judges an entry of the node's feed.
func OpenEntry(id peer.ID, data []byte) error {
	_, err := openEntry(id, data)
	return err
}

// ReceiveProfile takes the profile of the peer from the connection, as from a stream that the peer has opened.
func ReceiveProfile(t *Transport, peer string, c net.Conn) error {
	return t.directory.receive(t.byName[peer], newConn(pipeStream{pipe: c}))
}

// Name returns the node's name among its peers.
func Name(t *Transport) string { return t.config.Node }

// NewShelf returns what a node keeps for others of the directory.
var NewShelf = newShelf

// ShelfBytes returns what is on it, counted anew.
func ShelfBytes(s *shelf) (bytes int) {
	all, err := s.MapDatastore.Query(context.Background(), query.Query{})
	if err != nil {
		panic(err)
	}
	for e := range all.Next() {
		bytes += len(e.Value) + entryCost
	}
	return bytes
}

// Version returns the number of the newest profile of a node that is known; 0 while none is.
func (t *Transport) Version(node string) uint64 { return t.directory.version(node) }

// LookUp asks the directory for the profile of any node, and returns its number.
func (t *Transport) LookUp(ctx context.Context, of ed25519.PublicKey) (uint64, error) {
	id, err := PeerID(of)
	if err != nil {
		return 0, err
	}
	r, err := t.directory.get(ctx, newNeighbour("", id))
	return r.seq, err
}

// RefreshTable looks for nodes for every part of the routing table of the directory.
func (t *Transport) RefreshTable() error { return <-t.dht.ForceRefresh() }

// CorrectAddresses returns what a node says of its own addresses where libp2p knows the old ones, and the machine's have changed.
func CorrectAddresses(before, now, old, listen []string) (corrected []string) {
	m := newMoves()
	for _, ips := range [][]string{before, now} {
		seen := map[string]bool{}
		for _, ip := range ips {
			seen[ip] = true
		}
		m.see(seen)
	}
	var own []multiaddr.Multiaddr
	for _, a := range old {
		own = append(own, multiaddr.StringCast(a))
	}
	for _, a := range m.correct(own, listen) {
		corrected = append(corrected, a.String())
	}
	return corrected
}

// NeedsDoor reports whether the node keeps a connection to the first node that it has entered the mesh by.
func NeedsDoor(t *Transport) bool { return t.needs(t.entries[0]) }

// Listeners returns who is known to listen to a topic of the gossip.
func (t *Transport) Listeners(topic string) []peer.ID { return t.feeds.gossip.ListPeers(topic) }

// FeedTopic returns the topic of the gossip about a node's feed.
func (t *Transport) FeedTopic(origin peer.ID) string { return t.feedTopic(origin) }

// Follower is a copy of a feed that the test gives answers to.
type Follower struct{ *followed }

// Follow returns a copy in the folder of the feed of the peer, which the node has come to the place of.
func Follow(t *Transport, peer, dir string, epoch, next uint64) (*Follower, error) {
	l, err := feedlog.Open(dir, feedlog.Limits{}, t.log)
	if err != nil {
		return nil, err
	}
	f := &followed{
		t: t, peer: t.byName[peer], line: newLine(), log: l, path: filepath.Join(dir, "position.json"),
		lacking: make(chan struct{}, 1), moved: make(chan struct{}, 1), position: position{epoch, next},
	}
	return &Follower{f}, l.Reset(next)
}

// Hear takes an answer of the origin, or of somebody else, to the question for what is missing.
func (f *Follower) Hear(c net.Conn, fromOrigin bool) error {
	var id peer.ID
	if fromOrigin {
		id = f.peer.id
	}
	_, _, err := f.hear(newConn(pipeStream{pipe: c}), id, f.log.Next())
	return err
}

// Log returns the copy.
func (f *Follower) Log() *feedlog.Log { return f.log }

// PlainCause says why one address does not lead to a node.
var PlainCause = plainCause

// AsksForFollowers reports whether the node, which follows nobody, would ask the directory who follows a peer that is not connected, and
// that was sought in vain or not.
func AsksForFollowers(ctx context.Context, t *Transport, peer string, lost bool) bool {
	p := newNeighbour(peer, t.byName[peer].id) // of which the network says nothing
	if lost {
		p.lose()
	}
	before := t.lookups.all()["followers"]
	(&followed{t: t, peer: p, topic: t.feeds.own.topic}).sources(ctx) // a topic that nobody else listens to
	return t.lookups.all()["followers"] > before
}

// PushProfile shows the own profile to a connected peer once more.
func PushProfile(t *Transport, peer string) error {
	t.directory.mu.Lock()
	seq, signed := t.directory.own.seq, t.directory.signed
	t.directory.mu.Unlock()
	return t.directory.pushOnce(t.byName[peer], seq, signed)
}

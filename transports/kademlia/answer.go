package kademlia

import (
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weft-relay/weft/transports/kademlia/feedlog"
)

const (
	// maxAnswer is how many bytes of entries one answer has, or one entry. maxAnswers is how many strangers are
	// given at a time.
	maxAnswer  = 8 << 20
	maxAnswers = 16
	// maxSources is how many nodes beside its origin are asked for what is missing of a feed, one after the other.
	maxSources = 8
)

// answer gives any node what this one has of a feed, from a place on: broadcasts are signed, and for everybody.
func (f *feeds) answer(c *conn) error {
	if err := c.within(stallTime); err != nil {
		return err
	}
	origin, err := c.bytes(maxUUID)
	if err != nil {
		return err
	}
	from, err := c.number()
	if err != nil {
		return err
	}
	l, epoch := f.find(peer.ID(origin))
	if l == nil || epoch == 0 {
		c.putNumber(0)
		return c.flush()
	}
	first, next := l.First(), l.Next()
	c.putNumber(epoch)
	c.putNumber(first)
	c.putNumber(next)
	for sent := 0; from >= first && from < next; from++ {
		raw, err := l.Read(from)
		if err != nil {
			break // trimmed meanwhile: the asker comes again
		}
		if sent += len(raw); sent > maxAnswer && sent > len(raw) {
			break
		}
		c.putBytes(raw)
	}
	c.putNumber(0) // an entry is never empty
	return c.flush()
}

// find returns the log of a feed that this node has, and its epoch.
func (f *feeds) find(origin peer.ID) (*feedlog.Log, uint64) {
	if origin == f.t.host.ID() {
		return f.own.log, f.own.epoch
	}
	if followed := f.byOrigin[origin]; followed != nil {
		return followed.log, followed.now().Epoch
	}
	return nil, 0
}

// serveAnybody answers a protocol to every node: to strangers to a number of them at a time, to peers whatever strangers do.
func (f *feeds) serveAnybody() {
	seats := make(chan struct{}, maxAnswers)
	f.t.host.SetStreamHandler(protocolLog, func(s network.Stream) {
		if p := f.t.byID[s.Conn().RemotePeer()]; p == nil || p.name == "" {
			select {
			case seats <- struct{}{}:
				defer func() { <-seats }()
			default:
				_ = s.Reset()
				return
			}
		}
		f.t.handle(s, f.answer)
	})
}

package kademlia

import (
	"context"
	"net"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/weft-relay/weft/transports"
)

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

// Inbox subscribes to the inbox of a transport that was not started.
func Inbox(ctx context.Context, t *Transport) (<-chan *message.Message, error) {
	t.mu.Lock()
	t.started = true
	t.mu.Unlock()
	return t.Subscribe(ctx, transports.Inbox)
}

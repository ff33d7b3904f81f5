package kademlia

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// The protocols of this package. docs/wire-format.md describes every byte.
const (
	protocolDirect  protocol.ID = "/weft/direct/1"
	protocolProfile protocol.ID = "/weft/profile/1"
	protocolLog     protocol.ID = "/weft/log/1"
)

const (
	// stallTime is how long a peer that has begun to say or to take something may be silent, before the stream is reset.
	stallTime = 20 * time.Second
	maxUUID   = 255 // bytes of a frame's name
	readChunk = 64 << 10
)

// errTooLong says that the other side sends more than the protocol allows.
var errTooLong = errors.New("longer than the protocol allows")

// conn reads and writes the numbers and strings of a stream. What was begun must go on: a peer that is silent in the middle for
// stallTime loses the stream.
type conn struct {
	network.Stream
	r *bufio.Reader
	w *bufio.Writer
}

func newConn(s network.Stream) *conn {
	c := &conn{Stream: s}
	c.r = bufio.NewReaderSize(s, 4<<10)
	c.w = bufio.NewWriterSize(deadlineWriter{s}, readChunk)
	return c
}

// deadlineWriter writes in pieces, each of which must be taken within stallTime.
type deadlineWriter struct{ s network.Stream }

func (d deadlineWriter) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		if err = d.s.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
			return n, err
		}
		var m int
		m, err = d.s.Write(p[n:min(len(p), n+readChunk)])
		n += m
	}
	return n, err
}

// within sets how long the next reads may take together; 0 is without limit.
func (c *conn) within(d time.Duration) error {
	if d == 0 {
		return c.SetReadDeadline(time.Time{})
	}
	return c.SetReadDeadline(time.Now().Add(d))
}

// hurry sets that the next read must end within stallTime, unless so many bytes are here that it will not wait: most of what small
// frames cost would be deadlines.
func (c *conn) hurry(bytes int) error {
	if c.r.Buffered() >= bytes {
		return nil
	}
	return c.within(stallTime)
}

// await waits for the first byte of what comes next, as long as it takes.
func (c *conn) await() error {
	if c.r.Buffered() > 0 {
		return nil
	}
	if err := c.within(0); err != nil {
		return err
	}
	_, err := c.r.Peek(1)
	return err
}

// number reads a number, waiting for its first byte as long as it takes or as [conn.within] says.
func (c *conn) number() (uint64, error) { return binary.ReadUvarint(c.r) }

// bytes reads a string of at most a number of bytes.
func (c *conn) bytes(most int) ([]byte, error) {
	size, err := c.size(most)
	if err != nil {
		return nil, err
	}
	return c.body(size)
}

// size reads how long the string is that follows, at most so many bytes.
func (c *conn) size(most int) (int, error) {
	if err := c.hurry(binary.MaxVarintLen64); err != nil {
		return 0, err
	}
	size, err := c.number()
	if err != nil {
		return 0, err
	}
	if size > uint64(most) {
		return 0, fmt.Errorf("%d bytes, at most %d: %w", size, most, errTooLong)
	}
	return int(size), nil
}

// body reads the bytes of a string as they arrive: what is only announced costs no memory. Each piece of readChunk must arrive within
// stallTime, so that nobody holds a stream, and what was read of it, by a byte now and then.
func (c *conn) body(size int) (b []byte, err error) {
	for from := 0; from < size; from = len(b) {
		b = append(b, make([]byte, min(size-from, max(readChunk, from)))...)
		for at := from; at < len(b); at += readChunk {
			piece := b[at:min(len(b), at+readChunk)]
			if err := c.hurry(len(piece)); err != nil {
				return nil, err
			}
			if _, err := io.ReadFull(c.r, piece); err != nil {
				return nil, noEOF(err)
			}
		}
	}
	return b, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// The writes of a message are collected until flush.

func (c *conn) putNumber(n uint64) {
	var b [binary.MaxVarintLen64]byte
	_, _ = c.w.Write(binary.AppendUvarint(b[:0], n)) // flush returns the error
}

func (c *conn) putBytes(b []byte) {
	c.putNumber(uint64(len(b)))
	_, _ = c.w.Write(b)
}

func (c *conn) flush() error { return c.w.Flush() }

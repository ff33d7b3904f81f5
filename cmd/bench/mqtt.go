//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Packet types in the high half of a fixed header's first byte [MQTT-2.2.1].
const (
	connect   = 1 << 4
	connack   = 2 << 4
	publish   = 3 << 4
	puback    = 4 << 4
	pubrec    = 5 << 4
	pubrel    = 6<<4 | 2 // the reserved bits of these two are 0010 [MQTT-3.6.1-1], [MQTT-3.8.1-1]
	pubcomp   = 7 << 4
	subscribe = 8<<4 | 2
	suback    = 9 << 4

	typeMask = 0xf0
)

// maxPacket bounds what the client reads into memory; no load has larger payloads.
const maxPacket = 2 << 20

// client is an MQTT 3.1.1 client that does only what a measuring instrument needs, at the least cost: clean session, no
// keepalive, writes gathered until the reader has nothing left to read.
type client struct {
	socket *os.File
	r      *bufio.Reader
	buf    []byte // body of the last packet read

	mu sync.Mutex // guards w: the publisher and the reader's acknowledgements share it
	w  *bufio.Writer
}

// handler is what a client's reader reports, all on the reader's goroutine.
type handler struct {
	message func(payload []byte) // a PUBLISH arrived; the payload is valid during the call only
	acked   func()               // the broker has taken over one QoS 1 or 2 message
	idle    func()               // what had arrived is read
}

// dial connects to a loopback address and completes the MQTT handshake.
func dial(addr, id string) (*client, error) {
	socket, err := openSocket(addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	c := &client{socket: socket, r: bufio.NewReaderSize(socket, 64<<10), w: bufio.NewWriterSize(socket, 64<<10)}
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0}, text(id)...)
	if _, err := c.request(connect, body, connack, 2); err != nil {
		socket.Close()
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return c, nil
}

// openSocket connects a blocking socket. One of package net would wake this program for every packet that arrives,
// whether it reads or not, which costs more than all else it does.
func openSocket(addr string) (*os.File, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), addr), nil
}

// close ends the connection, and a read that waits on it.
func (c *client) close() {
	_ = unix.Shutdown(int(c.socket.Fd()), unix.SHUT_RDWR)
	c.socket.Close()
}

// subscribe subscribes and waits for the broker's grant.
func (c *client) subscribe(filter string, qos byte) error {
	body := append([]byte{0, 1}, text(filter)...)
	answer, err := c.request(subscribe, append(body, qos), suback, 3)
	if err == nil && answer[2] != qos {
		err = fmt.Errorf("the broker granted %#x for QoS %d", answer[2], qos)
	}
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", filter, err)
	}
	return nil
}

// request sends a packet and reads the answer, before serve has begun.
func (c *client) request(header byte, body []byte, want byte, size int) ([]byte, error) {
	c.w.Write(append(binary.AppendUvarint([]byte{header}, uint64(len(body))), body...))
	if err := c.w.Flush(); err != nil {
		return nil, err
	}
	got, answer, err := readPacket(c.r, &c.buf)
	if err != nil {
		return nil, err
	}
	if got != want || len(answer) != size || (want == connack && answer[1] != 0) {
		return nil, fmt.Errorf("the broker answered %#x % x", got, answer)
	}
	return answer, nil
}

// publish puts a PUBLISH into the write buffer; flush sends it. id counts only at QoS 1 and 2.
func (c *client) publish(topic string, id uint16, qos byte, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := 2 + len(topic) + len(payload)
	if qos > 0 {
		size += 2
	}
	head := binary.AppendUvarint(append(c.w.AvailableBuffer(), publish|qos<<1), uint64(size))
	head = append(binary.BigEndian.AppendUint16(head, uint16(len(topic))), topic...)
	if qos > 0 {
		head = binary.BigEndian.AppendUint16(head, id)
	}
	c.w.Write(head)
	_, err := c.w.Write(payload)
	return err
}

func (c *client) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.Flush()
}

// serve reads until the connection ends, acknowledging by the protocol.
func (c *client) serve(h handler) error {
	for {
		if c.r.Buffered() == 0 {
			if err := c.flush(); err != nil {
				return err
			}
			h.idle()
		}
		header, body, err := readPacket(c.r, &c.buf)
		if err != nil {
			return err
		}
		switch header & typeMask {
		case publish:
			err = c.receive(header, body, h)
		case pubrec:
			err = c.answer(pubrel, body)
		case pubrel & typeMask:
			err = c.answer(pubcomp, body)
		case puback, pubcomp:
			h.acked()
		}
		if err != nil {
			return err
		}
	}
}

func (c *client) receive(header byte, body []byte, h handler) error {
	if len(body) < 2 {
		return errors.New("PUBLISH without a topic")
	}
	rest := body[2:]
	skip := int(binary.BigEndian.Uint16(body))
	qos := header >> 1 & 3
	if qos > 0 {
		skip += 2
	}
	if len(rest) < skip {
		return errors.New("PUBLISH shorter than its header")
	}
	h.message(rest[skip:])
	switch qos {
	case 1:
		return c.answer(puback, rest[skip-2:skip])
	case 2:
		return c.answer(pubrec, rest[skip-2:skip])
	}
	return nil
}

func (c *client) answer(header byte, id []byte) error {
	if len(id) != 2 {
		return errors.New("packet identifier is not two bytes")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.w.Write([]byte{header, 2, id[0], id[1]})
	return err
}

// readPacket reads one packet into buf, which it grows; the body is valid until the next call.
func readPacket(r *bufio.Reader, buf *[]byte) (header byte, body []byte, err error) {
	if header, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	if size > maxPacket {
		return 0, nil, fmt.Errorf("packet of %d bytes", size)
	}
	if uint64(cap(*buf)) < size {
		*buf = make([]byte, size)
	}
	body = (*buf)[:size]
	_, err = io.ReadFull(r, body)
	return header, body, err
}

// text encodes an MQTT string [MQTT-1.5.3].
func text(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

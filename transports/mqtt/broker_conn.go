package mqtt

import (
	"cmp"
	"encoding/binary"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/mochi-mqtt/server/v2/listeners"
)

const (
	// slowClient is how many bytes may wait for a client before QoS 0 messages to it are dropped.
	slowClient = 8 << 20
	// farewell is how long the last bytes to a client may take.
	farewell = time.Second
	// acceptPause is how long no connection is asked for after one could not be taken.
	acceptPause = 100 * time.Millisecond
)

// brokerListener is mochi's listener. It hands mochi connections that gather writes, and that write what promises something only
// after the store is synced. mochi's own one lets a connection begin while the server already waits for the last to end.
type brokerListener struct {
	net   net.Listener
	store *brokerStore
	notes *notes
	log   *slog.Logger
	work  sync.WaitGroup // all goroutines of the connections

	mu     sync.Mutex
	conns  map[*brokerConn]struct{}
	closed bool
}

// Init implements [listeners.Listener].
func (l *brokerListener) Init(log *slog.Logger) error {
	l.log = log
	return nil
}

// ID implements [listeners.Listener].
func (l *brokerListener) ID() string { return "mqtt" }

// Address implements [listeners.Listener].
func (l *brokerListener) Address() string { return l.net.Addr().String() }

// Protocol implements [listeners.Listener].
func (l *brokerListener) Protocol() string { return l.net.Addr().Network() }

// Serve implements [listeners.Listener]: it hands connections to establish until Close.
func (l *brokerListener) Serve(establish listeners.EstablishFn) {
	for {
		conn, err := l.net.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files: it passes
			l.notes.warn("", "accept", "no connection can be taken, clients wait", "error", err)
			time.Sleep(acceptPause)
			continue
		}
		conn.SetReadDeadline(time.Now().Add(connectTimeout)) // until its CONNECT
		c := &brokerConn{Conn: conn, link: newLink(conn, l.store), notes: l.notes, ids: newIdentifiers()}
		if !l.hold(c, establish) {
			conn.Close()
			return
		}
	}
}

// hold lets a connection run, unless the listener is closed.
func (l *brokerListener) hold(c *brokerConn, establish listeners.EstablishFn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.conns[c] = struct{}{}
	l.work.Go(func() {
		if err := establish(l.ID(), c); err != nil {
			l.log.Debug("connection ended", "error", err)
		}
	})
	l.work.Go(func() {
		c.link.flush()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, c)
	})
	return true
}

// Close implements [listeners.Listener]. It ends the connections and waits for them: mochi knows only those that have sent a
// CONNECT, forgets one that comes while it stops, and would wait for the others.
func (l *brokerListener) Close(closeClients listeners.CloseFn) {
	l.net.Close()
	l.mu.Lock()
	l.closed = true
	open := slices.Collect(maps.Keys(l.conns))
	l.mu.Unlock()
	closeClients(l.ID())
	for _, c := range open {
		c.Close()
	}
	l.work.Wait()
}

// brokerConn is the broker's side of a connection. mochi writes one packet a call.
type brokerConn struct {
	net.Conn
	link     *link
	notes    *notes
	ids      *identifiers
	client   string // its identifier; set before anything is published to it
	version  byte   // of the client's MQTT, or 0 before its CONNECT was taken
	release  func() // ends the move of a session to this connection; nil before it began
	closeOne sync.Once

	subscribing atomic.Bool // while a SUBSCRIBE of the client is processed

	mu       sync.Mutex
	resuming bool                // until all that mochi sends again is there
	resumed  map[uint16][]byte   // what it sends again
	repeated map[uint16]struct{} // identifiers that were sent again and not answered
}

// Read implements [net.Conn].
func (c *brokerConn) Read(p []byte) (int, error) { return c.link.r.Read(p) }

// Write implements [net.Conn]: it takes one packet and never blocks. What waits for a slow client at QoS 1 and 2 is
// bounded by the identifiers, and QoS 0 is dropped. It never fails either: mochi would keep the identifier of a message at
// QoS 2 whose PUBREC it cannot write, and not pass the message on. That the connection is gone is seen by Read.
func (c *brokerConn) Write(p []byte) (int, error) {
	kind, qos, id := inspect(p)
	if kind == packets.Publish && qos == 0 && c.link.pending() > slowClient {
		c.notes.drop(c.client, droppedSlow, "messages at QoS 0 are dropped: the client does not read as fast as they come", "waiting_bytes", slowClient)
		return len(p), nil
	}
	if kind == packets.Disconnect && c.version < 5 {
		return len(p), nil // a client of 3.1.1 knows no such packet from its server: the connection just ends
	}
	if answers(kind) {
		if !c.isResuming() { // else the client asks first
			c.link.write(c.ids.leave(kind, p), true)
		}
		return len(p), nil
	}
	if id != 0 && !c.passes(kind, id, p) {
		return len(p), nil
	}
	if id != 0 && kind == packets.Publish {
		c.ids.sends(id)
	}
	c.link.write(p, promises(kind, qos, p))
	return len(p), nil
}

// answers reports whether a packet of that type carries an identifier that the client has chosen.
func answers(kind byte) bool {
	switch kind {
	case packets.Puback, packets.Pubrec, packets.Pubcomp, packets.Suback, packets.Unsuback:
		return true
	}
	return false
}

// promises reports whether a packet may only be written after what caused it is on disk.
func promises(kind, qos byte, packet []byte) bool {
	switch kind {
	case packets.Publish:
		return qos == 2
	case packets.Connack:
		return len(packet) < 4 || packet[3] == packets.Accepted // a refusal is none
	}
	return kind != packets.Pingresp
}

// passes reports whether a packet at QoS 1 or 2 is to be written now. mochi sends again in no order what a session has in
// flight, and a will that comes at that moment twice: here it is put in order, and passes once.
func (c *brokerConn) passes(kind byte, id uint16, packet []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resuming {
		if _, twice := c.resumed[id]; !twice {
			c.resumed[id] = slices.Clone(packet)
		}
		return false
	}
	if _, twice := c.repeated[id]; twice && kind == packets.Publish {
		delete(c.repeated, id)
		return false
	}
	return true
}

func (c *brokerConn) isResuming() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resuming
}

// resume begins the time in which mochi sends again what is in flight.
func (c *brokerConn) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resuming, c.resumed, c.repeated = true, make(map[uint16][]byte), make(map[uint16]struct{})
}

// resumeDone writes what was sent again, in the order of place [MQTT-4.6.0-1].
func (c *brokerConn) resumeDone(place func(id uint16) uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	type packet struct {
		place uint64
		bytes []byte
	}
	var all []packet
	for id, bytes := range c.resumed {
		all = append(all, packet{place(id), bytes})
		c.repeated[id] = struct{}{}
	}
	slices.SortFunc(all, func(a, b packet) int { return cmp.Compare(a.place, b.place) })
	for _, p := range all {
		c.link.write(p.bytes, true)
	}
	c.resuming, c.resumed = false, nil
}

// answered notes that the client has answered a message: its identifier is free for another.
func (c *brokerConn) answered(id uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.repeated, id)
}

// Close implements [net.Conn]: what was written still goes out, if the client takes it soon.
func (c *brokerConn) Close() error {
	c.closeOne.Do(func() {
		if c.release != nil {
			c.release()
		}
		c.SetDeadline(time.Now().Add(farewell))
		c.SetReadDeadline(time.Now())
		c.link.finish()
	})
	return nil
}

// inspect returns the type of a packet, its QoS, and its identifier if it is part of a flow at QoS 1 or 2 that mochi
// sends again.
func inspect(p []byte) (kind, qos byte, id uint16) {
	kind, qos = p[0]>>4, p[0]>>1&3
	_, n := binary.Uvarint(p[1:])
	body := p[1+max(n, 0):]
	switch {
	case kind == packets.Publish && qos > 0 && len(body) >= 2:
		if at := 2 + int(binary.BigEndian.Uint16(body)); len(body) >= at+2 {
			id = binary.BigEndian.Uint16(body[at:])
		}
	case kind == packets.Pubrel && len(body) >= 2:
		id = binary.BigEndian.Uint16(body)
	}
	return kind, qos, id
}

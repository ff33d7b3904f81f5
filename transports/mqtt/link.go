package mqtt

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// linkBuffer is how much a publisher at QoS 0 may be ahead of the socket, in bytes.
	linkBuffer = 256 << 10
	// keepBuffer is the largest write buffer that is kept for reuse.
	keepBuffer = 1 << 20
)

var errLinkClosed = errors.New("connection closed")

// link is one network connection. Writes are gathered in a buffer that one goroutine takes to the socket, so that one
// system call carries many packets, and one Sync of the store serves all that depend on it.
type link struct {
	conn     net.Conn
	r        *bufio.Reader
	patience *patience  // nil where the connection does not run over TCP
	answers  func() int // how many bytes of answers are on their way; nil where reads do not wait for company
	store    syncer

	mu      sync.Mutex
	space   *sync.Cond // the buffer has shrunk, or the link has failed
	buf     []byte
	durable bool        // a packet in buf depends on the store
	loose   int         // QoS 0 publications in buf
	later   []byte      // packets that depend on the store and wait for company
	due     *time.Timer // when they have waited long enough
	writing bool        // the flusher holds bytes that are not in the socket yet
	held    bool        // the flusher leaves buf alone
	closing bool        // the link fails when buf is empty
	err     error

	wake     chan struct{} // buf has grown
	done     chan struct{} // closed by fail
	flushed  chan struct{} // closed when the flusher has ended
	lost     atomic.Uint64 // QoS 0 publications that never reached the socket
	lastRead atomic.Int64  // UnixNano of the last bytes that came, or of the last step of a long write
	acked    uint64        // bytes that the broker's side had acknowledged at the last ping tick
}

// syncer is the part of a [Store] that a link needs.
type syncer interface{ Sync() error }

func newLink(conn net.Conn, store syncer) *link {
	l := &link{conn: conn, patience: newPatience(conn), store: store, wake: make(chan struct{}, 1), done: make(chan struct{}), flushed: make(chan struct{})}
	l.space = sync.NewCond(&l.mu)
	l.r = bufio.NewReaderSize(stampedReader{l}, 64<<10)
	l.lastRead.Store(time.Now().UnixNano())
	return l
}

// stampedReader notes when bytes come, once for each system call.
type stampedReader struct{ *link }

func (s stampedReader) Read(p []byte) (int, error) {
	var n int
	var err error
	if s.patience != nil && s.answers != nil {
		n, err = s.patience.read(s.conn, p, s.answers())
	} else {
		n, err = s.conn.Read(p)
	}
	if n > 0 {
		s.lastRead.Store(time.Now().UnixNano())
		if s.patience != nil {
			s.patience.quickAck()
		}
	}
	return n, err
}

// moving takes note of a long write that goes on. The broker cannot answer a PINGREQ that stands behind it. Once all is
// acknowledged, only what comes counts: a broker that hangs acknowledges too, until its buffer is full.
func (l *link) moving(now time.Time) {
	if l.patience == nil {
		return
	}
	acked, more := l.patience.unacknowledged()
	if more && acked > l.acked {
		l.lastRead.Store(now.UnixNano())
	}
	l.acked = acked
}

// write queues packets and reports whether the link took them. It never blocks: what flows through it is bounded by the
// in-flight windows of both sides. With durable the store is synced before the packets reach the socket.
func (l *link) write(packets []byte, durable bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	l.append(packets, durable)
	return true
}

// writeLoose queues a QoS 0 publication, after waiting for space in the buffer.
func (l *link) writeLoose(packet []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.buf) > linkBuffer && l.err == nil {
		l.space.Wait()
	}
	if l.err != nil {
		return false
	}
	l.loose++
	l.append(packet, false)
	return true
}

const (
	laterLimit = 2 * time.Millisecond // the longest that packets of writeLater wait
	laterBytes = 8 * ackLen           // of them that do not wait any more
)

// writeLater is write for packets that depend on the store and that nobody is in a hurry for: they wait for others, so that one
// sync serves many.
func (l *link) writeLater(packets []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	if len(l.later) == 0 {
		l.due = time.AfterFunc(laterLimit, l.hurry)
	}
	if l.later = append(l.later, packets...); len(l.later) >= laterBytes {
		l.takeLater()
	}
	return true
}

func (l *link) hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takeLater()
}

func (l *link) takeLater() {
	if len(l.later) > 0 {
		l.due.Stop()
		l.append(l.later, true)
		l.later = l.later[:0]
	}
}

func (l *link) append(packets []byte, durable bool) {
	l.buf = append(l.buf, packets...)
	l.durable = l.durable || durable
	l.wakeUp()
}

func (l *link) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// hold keeps what is written from the socket until it is called with false.
func (l *link) hold(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
	if !held && len(l.buf) > 0 {
		l.wakeUp()
	}
}

// finish closes the link after what was written has reached the socket.
func (l *link) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.wakeUp()
}

// flush takes the buffer to the socket until the link fails. It is the link's own goroutine.
func (l *link) flush() {
	defer close(l.flushed)
	var spare []byte
	for {
		select {
		case <-l.wake:
		case <-l.done:
			return
		}
		l.mu.Lock()
		if l.held && !l.closing {
			l.mu.Unlock()
			continue
		}
		out, durable, loose := l.buf, l.durable, l.loose
		l.buf, l.durable, l.loose = spare[:0], false, 0
		l.writing = true
		l.mu.Unlock()
		if err := l.flushOne(out, durable); err != nil {
			l.lost.Add(uint64(loose))
			l.fail(err)
			return
		}
		l.mu.Lock()
		l.writing = false
		l.space.Broadcast()
		end := l.closing && len(l.buf) == 0
		l.mu.Unlock()
		if end {
			l.fail(errLinkClosed)
		}
		if spare = out; cap(spare) > keepBuffer {
			spare = nil
		}
	}
}

func (l *link) flushOne(out []byte, durable bool) error {
	if durable {
		if err := l.store.Sync(); err != nil {
			return fmt.Errorf("sync the session's store: %w", err)
		}
	}
	if len(out) == 0 {
		return nil
	}
	_, err := l.conn.Write(out)
	return err
}

// drain waits until what was written before has reached the socket, or the time is over.
func (l *link) drain(limit time.Duration) {
	stop := time.AfterFunc(limit, func() { l.fail(errLinkClosed) })
	defer stop.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.takeLater()
	for (len(l.buf) > 0 || l.writing) && l.err == nil {
		l.space.Wait()
	}
}

// fail closes the connection for the first reason it is given.
func (l *link) fail(err error) {
	l.mu.Lock()
	first := l.err == nil
	if first {
		l.err = err
		l.lost.Add(uint64(l.loose))
		l.space.Broadcast()
		close(l.done)
	}
	l.mu.Unlock()
	if first {
		l.conn.Close()
	}
}

// reason returns why the link has failed.
func (l *link) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// pending returns how many bytes wait for the socket.
func (l *link) pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.buf)
}

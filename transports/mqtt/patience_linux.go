package mqtt

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	patienceLimit  = 4 * time.Millisecond // the longest that bytes wait for company
	patienceSample = 4 * time.Millisecond // over which the rate is taken
	patienceReads  = 10                   // in a sample, from which on a connection is busy
	patienceLeast  = 32                   // bytes that are worth waiting for
	patienceMost   = 16 << 10             // bytes that never wait
	patiencePause  = 4 * time.Millisecond // after waiting in vain, doubled each time
	patiencePauses = 8                    // how often it is doubled
)

// patience lets what comes over a busy connection gather for up to 4 ms before it is read. A broker writes its packets one
// by one, and to wake up for each of them costs both ends more than all else that is done with it. The kernel does the
// waiting (SO_RCVLOWAT), so that nobody is woken meanwhile. On a quiet connection, or where waiting brings nothing because
// the broker itself waits for an answer, it reads at once.
type patience struct {
	tcp *net.TCPConn
	raw syscall.RawConn

	low   int       // SO_RCVLOWAT
	since time.Time // when the sample began
	reads int       // in it
	bytes int
	want  int // bytes that come in half a sample; 0 while the connection is not busy

	busy, owed waits // for what the rate lets expect, and for answers
}

// waits is what waiting has brought so far.
type waits struct {
	most  int       // bytes that come at all before the other side waits: for a window of messages, or of segments, to open
	again time.Time // not before it is waiting tried again
	vain  int       // waits in vain, less those that were not
}

// worth returns how many of the bytes are worth waiting for, or 0.
func (w *waits) worth(now time.Time, bytes int) int {
	if bytes = min(bytes, w.most); bytes < patienceLeast || now.Before(w.again) {
		return 0
	}
	return bytes
}

// learn takes note that so many bytes were there after a wait for others, in time or not.
func (w *waits) learn(now time.Time, got, want int, inTime bool) {
	switch {
	case inTime:
		w.vain = max(0, w.vain-1)
		w.most = min(w.most+w.most/16+1, patienceMost)
	case got < want/4:
		w.again = now.Add(patienceLimit + patiencePause<<min(w.vain, patiencePauses))
		w.vain++
	default:
		w.most = max(got*7/8, patienceLeast)
	}
}

// newPatience returns nil where conn is no TCP connection.
func newPatience(conn net.Conn) *patience {
	tcp := tcpOf(conn)
	if tcp == nil {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return &patience{tcp: tcp, raw: raw, low: 1, since: time.Now(), busy: waits{most: patienceMost}, owed: waits{most: patienceMost}}
}

// read reads from conn, which runs over the TCP connection. Answers are bytes that are known to be on their way.
func (p *patience) read(conn net.Conn, buf []byte, answers int) (int, error) {
	now := time.Now()
	kind, want := &p.busy, p.busy.worth(now, p.want)
	if owed := p.owed.worth(now, answers); owed > want {
		kind, want = &p.owed, owed
	}
	if want == 0 {
		return p.readNow(conn, buf)
	}
	p.tcp.SetReadDeadline(now.Add(patienceLimit))
	late := p.await(want)
	p.tcp.SetReadDeadline(time.Time{})
	n, err := p.readNow(conn, buf)
	kind.learn(now, n, want, late == nil)
	return n, err
}

// readNow waits for nothing but the first byte.
func (p *patience) readNow(conn net.Conn, buf []byte) (int, error) {
	if p.low > 1 { // or a lone small packet would never be reported
		_ = p.raw.Control(func(fd uintptr) { p.require(fd, 1) })
	}
	n, err := conn.Read(buf)
	if err != nil {
		return n, err
	}
	return p.count(n)
}

// count takes note of n bytes and, at the end of a sample, of how busy the connection was.
func (p *patience) count(n int) (int, error) {
	p.reads, p.bytes = p.reads+1, p.bytes+n
	now := time.Now()
	if d := now.Sub(p.since); d >= patienceSample {
		half := int(int64(p.bytes) * int64(patienceSample/2) / int64(d))
		if p.want > 0 || p.reads >= patienceReads {
			p.want = half
		}
		p.reads, p.bytes, p.since = 0, 0, now
	}
	return n, nil
}

// require sets how many bytes must be there before the kernel reports any. If they are, it reports them now.
func (p *patience) require(fd uintptr, low int) {
	p.low = low
	_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, low)
}

// await returns when the kernel reports that so many bytes are there, or an error after the deadline.
func (p *patience) await(want int) error {
	asked := false
	return p.raw.Read(func(fd uintptr) bool {
		if !asked { // not before: what the kernel reports before this call is forgotten
			asked = true
			ackAtOnce(fd) // or a broker with Nagle's algorithm on would wait for us, and we for it
			p.require(fd, want)
			return false
		}
		return true
	})
}

// quickAck makes the kernel acknowledge at once what was read. Brokers that leave Nagle's algorithm on, as Mosquitto does, hold
// back their next small packet until then: with delayed acknowledgements every window of messages would wait 40 ms. The
// kernel forgets the wish, so it is repeated after reads.
func (p *patience) quickAck() { _ = p.raw.Control(ackAtOnce) }

func ackAtOnce(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
}

// unacknowledged returns how many bytes the other side's kernel has acknowledged, and whether more are on their way.
func (p *patience) unacknowledged() (acked uint64, more bool) {
	_ = p.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			acked, more = info.Bytes_acked, info.Unacked > 0 || info.Notsent_bytes > 0
		}
	})
	return acked, more
}

// tcpOf returns the TCP connection that conn runs over, or nil.
func tcpOf(conn net.Conn) *net.TCPConn {
	for {
		inner, ok := conn.(interface{ NetConn() net.Conn }) // TLS and WebSocket
		if !ok {
			break
		}
		conn = inner.NetConn()
	}
	tcp, _ := conn.(*net.TCPConn)
	return tcp
}

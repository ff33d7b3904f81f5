package mqtt

import (
	"net"
	"syscall"
)

// quickAck returns a function that makes the kernel acknowledge at once what was read, or nil where conn cannot. Brokers
// that leave Nagle's algorithm on, as Mosquitto does, hold back their next small packet until then: with delayed
// acknowledgements every window of messages would wait 40 ms. The kernel forgets the wish, so it is repeated after reads.
func quickAck(conn net.Conn) func() {
	for {
		inner, ok := conn.(interface{ NetConn() net.Conn }) // TLS and WebSocket
		if !ok {
			break
		}
		conn = inner.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	set := func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) }
	return func() { _ = raw.Control(set) }
}

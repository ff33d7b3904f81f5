//go:build !linux

package mqtt

import "net"

// patience is what Linux has; elsewhere a connection is read at once.
type patience struct{}

func newPatience(net.Conn) *patience { return nil }

func (*patience) read(conn net.Conn, buf []byte, _ int) (int, error) { return conn.Read(buf) }

func (*patience) quickAck() {}

func (*patience) unacknowledged() (acked uint64, more bool) { return 0, false }

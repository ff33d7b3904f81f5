//go:build !linux

package mqtt

import "net"

func quickAck(net.Conn) func() { return nil }

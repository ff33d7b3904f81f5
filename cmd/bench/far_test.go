//go:build linux

package main

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Is what goes the far way late by the delay, both ways, and whole, and is all of it closed when one end is?
func TestFarWayDelaysBothWays(t *testing.T) {
	const delay = 30 * time.Millisecond
	echo, err := net.Listen("tcp", loopback(0))
	require.NoError(t, err)
	defer echo.Close()
	go func() {
		c, err := echo.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	f, err := listenFar(echo.Addr().String(), delay)
	require.NoError(t, err)
	defer f.close()
	c, err := net.Dial("tcp", loopback(f.port()))
	require.NoError(t, err)
	defer c.Close()
	began := time.Now()
	sent := make([]byte, 100_000)
	for i := range sent {
		sent[i] = byte(i % 251)
	}
	_, err = c.Write(sent)
	require.NoError(t, err)
	require.NoError(t, c.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, sent, got)
	require.GreaterOrEqual(t, time.Since(began), 2*delay)
	require.Equal(t, uint64(2*len(sent)), f.passed.Load())
}

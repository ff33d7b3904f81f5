package mqtt_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Only Linux tells how a write goes on.

// Does a message that takes much longer than keep_alive to write reach the broker over a slow link?
func TestLargeMessageCrossesASlowLink(t *testing.T) {
	broker := startMosquitto(t)
	cfg := config("mqtt://"+slowLink(t, broker.address(), 1<<20), "sender")
	cfg.KeepAlive = time.Second
	sender, got := session(t, cfg, nil), subscribe(t, session(t, config(broker.url(), "receiver"), nil), "a")
	require.NoError(t, sender.Publish("a", raw("", strings.Repeat("x", 8<<20), 1)))
	eventually(t, 5*time.Second, "the message", func() bool { return got.len() == 1 })
	assert.Zero(t, sender.Report().Reconnects)
}

// slowLink passes connections on to target, at so many bytes a second towards it.
func slowLink(t *testing.T, target string, rate int) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			client.(*net.TCPConn).SetReadBuffer(16 << 10)
			go func() {
				defer client.Close()
				io.Copy(client, server)
			}()
			go func() {
				defer server.Close()
				for {
					if _, err := io.CopyN(server, client, int64(rate/20)); err != nil {
						return
					}
					time.Sleep(time.Second / 20) // the link's speed, not a wait for something
				}
			}()
		}
	}()
	return listener.Addr().String()
}

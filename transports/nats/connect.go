package nats

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

const (
	dialTimeout = 5 * time.Second
	// A link on which nothing comes back is given up after pingInterval times maxPings, and made anew within 30 s.
	pingInterval = 5 * time.Second
	maxPings     = 2

	minReconnectDelay = 100 * time.Millisecond
	maxReconnectDelay = 5 * time.Second
)

// options returns the connection's options from the configuration, and reads the key files that it names.
func options(c Config) ([]natsgo.Option, error) {
	opts := []natsgo.Option{
		natsgo.Name("weft-" + c.Node),
		natsgo.Timeout(dialTimeout),
		natsgo.PingInterval(pingInterval),
		natsgo.MaxPingsOutstanding(maxPings),
		natsgo.RetryOnFailedConnect(true),
		natsgo.MaxReconnects(-1),
		natsgo.IgnoreAuthErrorAbort(), // a login that is wrong today may be right tomorrow
		natsgo.CustomReconnectDelay(reconnectDelay),
		natsgo.ReconnectBufSize(-1), // what cannot be sent now is an error, not a buffer
	}
	switch {
	case c.User != "":
		opts = append(opts, natsgo.UserInfo(c.User, c.Password))
	case c.Token != "":
		opts = append(opts, natsgo.Token(c.Token))
	case c.NKey != "":
		nkey, err := natsgo.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("nkey: user seed file %q: %w", c.NKey, err)
		}
		opts = append(opts, nkey)
	case c.Creds != "":
		creds := natsgo.UserCredentials(c.Creds)
		if err := tryCreds(creds); err != nil {
			return nil, fmt.Errorf("creds: credentials file %q: %w", c.Creds, err)
		}
		opts = append(opts, creds)
	}
	if c.TLS != (TLS{}) && c.Embedded.Listen == "" {
		config, err := tlsConfig(c.TLS)
		if err != nil {
			return nil, err
		}
		opts = append(opts, natsgo.Secure(config))
	}
	return opts, nil
}

// tryCreds reads a credentials file as the library does at each login: the login itself and the seed that signs it.
func tryCreds(creds natsgo.Option) error {
	var opts natsgo.Options
	if err := creds(&opts); err != nil {
		return err
	}
	if _, err := opts.UserJWT(); err != nil {
		return err
	}
	_, err := opts.SignatureCB([]byte("nonce"))
	return err
}

func reconnectDelay(attempts int) time.Duration {
	delay := maxReconnectDelay
	if attempts < 8 {
		delay = min(delay, minReconnectDelay<<attempts)
	}
	return delay/2 + rand.N(delay/2) // so that the nodes of a restarted server do not come all at once
}

func tlsConfig(files TLS) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if files.CA != "" {
		pem, err := os.ReadFile(files.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: no PEM certificate in %q", files.CA)
		}
	}
	if files.Cert != "" {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %s with the key %s: %w", files.Cert, files.Key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// dialer ends a dial under way when the transport is closed.
type dialer struct{ ctx context.Context }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(d.ctx, network, address)
}

// handlers keep the transport informed of the connection.
func (t *Transport) handlers() []natsgo.Option {
	connected := func(*natsgo.Conn) {
		t.status.connected()
		t.wake()
	}
	return []natsgo.Option{
		natsgo.ConnectHandler(connected),
		natsgo.ReconnectHandler(connected),
		natsgo.DisconnectErrHandler(func(_ *natsgo.Conn, err error) {
			if t.ctx.Err() == nil { // else it is Close that hangs up
				t.status.disconnected(err)
			}
			t.endSession(nil)
		}),
		natsgo.ReconnectErrHandler(func(_ *natsgo.Conn, err error) {
			if !errors.Is(err, natsgo.ErrNoServers) { // the first round was refused: the next one says by whom
				t.status.disconnected(err)
			}
		}),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
			if !errors.Is(err, natsgo.ErrConnectionClosed) {
				t.status.note(err)
				t.log.Debug("nats error", slog.Any("err", err))
			}
		}),
	}
}

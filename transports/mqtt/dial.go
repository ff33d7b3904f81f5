package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// connectTimeout bounds the dial and the handshake of one attempt.
const connectTimeout = 10 * time.Second

var defaultPorts = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

// dial opens the network connection that c asks for.
func dial(ctx context.Context, c *Config) (net.Conn, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, err
	}
	u.User = nil
	var tlsConfig *tls.Config
	if u.Scheme == "mqtts" || u.Scheme == "wss" {
		if tlsConfig, err = c.TLS.load(u.Hostname()); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if u.Scheme == "ws" || u.Scheme == "wss" {
		return paho.NewWebsocket(u.String(), tlsConfig, connectTimeout, nil, nil)
	}
	address := net.JoinHostPort(u.Hostname(), defaultPorts[u.Scheme])
	if u.Port() != "" {
		address = u.Host
	}
	if tlsConfig != nil {
		return (&tls.Dialer{Config: tlsConfig}).DialContext(ctx, "tcp", address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// Reach connects to the broker's address once and hangs up: it says at once what a session would try again for ever.
func (c Config) Reach(ctx context.Context) error {
	conn, err := dial(ctx, &c)
	if err != nil {
		return err
	}
	return conn.Close()
}

// CheckFiles reads the TLS files and says what is wrong with each: [New] does not, and a session would try for ever.
func (c Config) CheckFiles() error {
	_, caErr := c.TLS.authorities()
	_, pairErr := c.TLS.pair()
	return errors.Join(caErr, pairErr)
}

// load reads the files. It is done at every attempt, so that a renewed certificate is taken without a restart.
func (t TLS) load(serverName string) (*tls.Config, error) {
	config := &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12}
	var err error
	if config.RootCAs, err = t.authorities(); err != nil {
		return nil, err
	}
	if config.Certificates, err = t.pair(); err != nil {
		return nil, err
	}
	return config, nil
}

// authorities reads CA; nil stands for the system's.
func (t TLS) authorities() (*x509.CertPool, error) {
	if t.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("tls.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.ca: no PEM certificate in %s; name the file with the authority that signed the broker's", t.CA)
	}
	return pool, nil
}

// pair reads Cert and Key, if there are any.
func (t TLS) pair() ([]tls.Certificate, error) {
	if t.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert: %s with the key %s: %w", t.Cert, t.Key, err)
	}
	return []tls.Certificate{pair}, nil
}

package mqtt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/mqtt"
)

// certificates writes an authority, and a certificate for 127.0.0.1 that serves as server's and as client's.
func certificates(t *testing.T) mqtt.TLS {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "weft test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	files := mqtt.TLS{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	require.NoError(t, os.WriteFile(files.CA, cert, 0o600))
	require.NoError(t, os.WriteFile(files.Cert, cert, 0o600))
	require.NoError(t, os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return files
}

// Do messages cross over TLS with client certificates, over WebSocket, and over WebSocket in TLS?
func TestMessagesCrossOverTLSAndWebSocket(t *testing.T) {
	files := certificates(t)
	ports := map[string]int{"mqtts": freePort(t), "ws": freePort(t), "wss": freePort(t)}
	secure := fmt.Sprintf("cafile %s\ncertfile %s\nkeyfile %s", files.CA, files.Cert, files.Key)
	startMosquitto(t,
		fmt.Sprintf("listener %d 127.0.0.1\nrequire_certificate true\n%s", ports["mqtts"], secure),
		fmt.Sprintf("listener %d 127.0.0.1\nprotocol websockets", ports["ws"]),
		fmt.Sprintf("listener %d 127.0.0.1\nprotocol websockets\n%s", ports["wss"], secure))
	for scheme, port := range ports {
		t.Run(scheme, func(t *testing.T) {
			cfg := config(fmt.Sprintf("%s://127.0.0.1:%d", scheme, port), scheme)
			if scheme != "ws" {
				cfg.TLS = files
			}
			one := session(t, cfg, nil)
			cfg.ClientID += "2"
			two := session(t, cfg, nil)
			got := subscribe(t, one, "a/"+scheme)
			for i := range 100 {
				require.NoError(t, two.Publish("a/"+scheme, raw("", fmt.Sprint(i), byte(i%3))))
			}
			exactly(t, got, 100)
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		s := session(t, config(fmt.Sprintf("mqtts://127.0.0.1:%d", ports["mqtts"]), "x"), nil)
		eventually(t, 5*time.Second, "the reason", func() bool { return strings.Contains(s.Report().Detail, "certificate") })
		assert.False(t, isUp(s))
	})
}

// Is every mistake in a configuration reported, all at once, and no password with it?
func TestConfigReportsEveryMistake(t *testing.T) {
	cfg := mqtt.Config{URL: "http://u:secret@/", TLS: mqtt.TLS{Cert: "c.pem"}, KeepAlive: time.Millisecond, Window: -1}
	cfg.SetDefaults()
	err := cfg.Validate()
	require.Error(t, err)
	for _, want := range []string{`unknown scheme "http"`, "no host", "cert and key", "keep_alive", "window"} {
		assert.ErrorContains(t, err, want)
	}
	assert.NotContains(t, err.Error(), "secret")
	cfg = mqtt.Config{URL: "mqtt://h:1"}
	cfg.SetDefaults()
	assert.NoError(t, cfg.Validate())
}

// Is a set tls that the scheme does not use refused, instead of a password going out in plain text?
func TestTLSThatIsNotUsedIsRefused(t *testing.T) {
	for url, want := range map[string]string{
		"mqtt://h": "tls: set, but mqtt:// does not use it; write mqtts://", "ws://h/mqtt": "tls: set, but ws:// does not use it; write wss://",
		"mqtts://h": "", "wss://h/mqtt": "",
	} {
		cfg := mqtt.Config{URL: url, TLS: mqtt.TLS{CA: "ca.pem"}}
		cfg.SetDefaults()
		if err := cfg.Validate(); want == "" {
			assert.NoError(t, err, url)
		} else {
			assert.EqualError(t, err, want)
		}
	}
}

func TestURLsThatAreHalfUsedAreRefused(t *testing.T) {
	for url, want := range map[string]string{
		"localhost:31883":  "url: no scheme; write mqtt://localhost:31883",
		"127.0.0.1:31883":  "url: no scheme; write mqtt://127.0.0.1:31883",
		"mqtts://h:1/mqtt": "url: mqtts uses no path; leave out what follows the port, or write ws or wss, which have one",
		"mqtt://h/":        "", "ws://h/mqtt": "",
	} {
		cfg := mqtt.Config{URL: url}
		cfg.SetDefaults()
		if err := cfg.Validate(); want == "" {
			assert.NoError(t, err, url)
		} else {
			assert.EqualError(t, err, want)
		}
	}
}

// Are the files of TLS read by whoever wants to know, before a session tries them for ever?
func TestFilesOfTLSCanBeChecked(t *testing.T) {
	one, two := certificates(t), certificates(t)
	check := func(files mqtt.TLS) error { return mqtt.Config{TLS: files}.CheckFiles() }
	require.NoError(t, check(one))
	require.NoError(t, check(mqtt.TLS{}))
	require.ErrorContains(t, check(mqtt.TLS{Cert: one.Cert, Key: two.Key}), "tls.cert: ")
	require.ErrorContains(t, check(mqtt.TLS{CA: one.Key}), "tls.ca: no PEM certificate in "+one.Key)
	both := check(mqtt.TLS{CA: one.Key, Cert: one.Cert, Key: two.Key})
	require.ErrorContains(t, both, "tls.ca: ")
	require.ErrorContains(t, both, "tls.cert: ")
}

// A plain client at a TLS listener is hung up on. Does the session say what that may be?
func TestPlainSessionAtATLSPortIsToldOfTLS(t *testing.T) {
	files, port := certificates(t), freePort(t)
	startMosquitto(t, fmt.Sprintf("listener %d 127.0.0.1\ncafile %s\ncertfile %s\nkeyfile %s", port, files.CA, files.Cert, files.Key))
	s := session(t, config(fmt.Sprintf("mqtt://127.0.0.1:%d", port), "plain"), nil)
	eventually(t, 5*time.Second, "the suspicion", func() bool { return strings.HasSuffix(s.Report().Detail, "does this port expect TLS (mqtts)?") })
}

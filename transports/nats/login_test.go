package nats_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
)

func writeFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newUser returns an NKey user's public key and the file with its seed.
func newUser(t testing.TB) (public, seedFile string, seed []byte) {
	t.Helper()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ = user.PublicKey()
	seed, _ = user.Seed()
	return public, writeFile(t, "user.nk", seed), seed
}

// operatorMode makes the server one of a fresh operator, and returns the credentials file of a user with JetStream.
func operatorMode(t testing.TB, o *natsserver.Options) (credsFile string) {
	t.Helper()
	operator, _ := nkeys.CreateOperator()
	account, _ := nkeys.CreateAccount()
	operatorID, _ := operator.PublicKey()
	accountID, _ := account.PublicKey()
	userID, _, seed := newUser(t)

	accountClaims := jwt.NewAccountClaims(accountID)
	accountClaims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1}
	accountJWT, err := accountClaims.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	userJWT, err := jwt.NewUserClaims(userID).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(userJWT, seed)
	if err != nil {
		t.Fatal(err)
	}
	system, _ := nkeys.CreateAccount()
	systemID, _ := system.PublicKey()
	systemJWT, err := jwt.NewAccountClaims(systemID).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	resolver := &natsserver.MemAccResolver{}
	for id, claims := range map[string]string{accountID: accountJWT, systemID: systemJWT} {
		if err := resolver.Store(id, claims); err != nil {
			t.Fatal(err)
		}
	}
	o.TrustedKeys, o.AccountResolver, o.SystemAccount = []string{operatorID}, resolver, systemID
	return writeFile(t, "user.creds", creds)
}

// certificate makes a certificate of 127.0.0.1 that is its own authority.
func certificate(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "weft test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		writeFile(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func serveTLS(t testing.TB, o *natsserver.Options, mutual bool) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = certificate(t)
	config, err := natsserver.GenTLSConfig(&natsserver.TLSConfigOpts{CertFile: certFile, KeyFile: keyFile, CaFile: certFile, Verify: mutual})
	if err != nil {
		t.Fatal(err)
	}
	config.MinVersion = tls.VersionTLS12
	o.TLS, o.TLSConfig, o.TLSTimeout = true, config, 5
	return certFile, keyFile
}

func TestEveryLoginCarriesFrames(t *testing.T) {
	for _, test := range []struct {
		name  string
		serve func(*testing.T, *natsserver.Options, *nats.Config)
	}{
		{"user and password", func(_ *testing.T, o *natsserver.Options, c *nats.Config) {
			o.Username, o.Password, c.User, c.Password = "weft", "secret", "weft", "secret"
		}},
		{"token", func(_ *testing.T, o *natsserver.Options, c *nats.Config) { o.Authorization, c.Token = "t0ken", "t0ken" }},
		{"nkey", func(t *testing.T, o *natsserver.Options, c *nats.Config) {
			var public string
			public, c.NKey, _ = newUser(t)
			o.Nkeys = []*natsserver.NkeyUser{{Nkey: public}}
		}},
		{"creds", func(t *testing.T, o *natsserver.Options, c *nats.Config) { c.Creds = operatorMode(t, o) }},
		{"tls", func(t *testing.T, o *natsserver.Options, c *nats.Config) { c.TLS.CA, _ = serveTLS(t, o, false) }},
		{"mutual tls", func(t *testing.T, o *natsserver.Options, c *nats.Config) {
			c.TLS.Cert, c.TLS.Key = serveTLS(t, o, true)
			c.TLS.CA = c.TLS.Cert
		}},
		{"websocket", func(_ *testing.T, o *natsserver.Options, c *nats.Config) {
			o.Websocket = natsserver.WebsocketOpts{Host: "127.0.0.1", Port: freePort(t), NoTLS: true}
			c.URL = "ws://" + net.JoinHostPort("127.0.0.1", port(o.Websocket.Port))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := nats.Config{}
			server := startServer(t, func(o *natsserver.Options) { test.serve(t, o, &config) })
			if config.URL == "" {
				config.URL = server.ClientURL()
			}
			alice, bob := config, config
			alice.Node, bob.Node = "alice", "bob"
			inbox := subscribe(t, startNode(t, bob), transports.Inbox)
			mustPublish(t, startNode(t, alice), transports.Direct("bob"), frame(1))
			expect(t, inbox, 1)
		})
	}
}

func TestWrongLoginIsReportedAndTriedAgain(t *testing.T) {
	t.Parallel()
	server := startServer(t, func(o *natsserver.Options) { o.Username, o.Password = "weft", "other" })
	alice := startNode(t, nats.Config{URL: server.ClientURL(), User: "weft", Password: "s3cret", Node: "alice"})
	eventually(t, "the report blames the login", func() bool {
		return strings.Contains(alice.Report().Detail, "refuses this login")
	})
	if r := alice.Report(); r.State != transports.Connecting || strings.Contains(r.Detail, "s3cret") {
		t.Errorf("report: %+v", r)
	}
	server.opts.Password = "s3cret"
	server.restart(t)
	mustPublish(t, alice, transports.Direct("bob"), frame(1))
}

func TestUnknownAuthorityIsReported(t *testing.T) {
	t.Parallel()
	server := startServer(t, func(o *natsserver.Options) { serveTLS(t, o, false) })
	stranger, _ := certificate(t)
	alice := startNode(t, nats.Config{URL: server.ClientURL(), TLS: nats.TLS{CA: stranger}, Node: "alice"})
	eventually(t, "the report blames the certificate", func() bool {
		return strings.Contains(alice.Report().Detail, "certificate")
	})
}

package nats_test

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-relay/weft/transports/nats"
)

func port(n int) string { return strconv.Itoa(n) }

// freePort returns a port that was free a moment ago, for servers that cannot choose one themselves.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestConfigErrorsNameTheKey(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	garbage := writeFile(t, "garbage", []byte("no key in here"))
	url := "nats://127.0.0.1:4222"
	for _, test := range []struct {
		name   string
		config nats.Config
		want   []string
	}{
		{"nothing", nats.Config{}, []string{"url: no server"}},
		{"both", nats.Config{URL: url, Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: "x"}}, []string{"url: set together with embedded"}},
		{"scheme", nats.Config{URL: "http://127.0.0.1"}, []string{"url: not a NATS server"}},
		{"second url", nats.Config{URL: url + ",127.0.0.1"}, []string{"url: not a NATS server"}},
		{"mixed", nats.Config{URL: url + ",ws://127.0.0.1"}, []string{"url: WebSocket"}},
		{"two logins", nats.Config{URL: url, User: "a", Token: "b"}, []string{"user: more than one"}},
		{"password alone", nats.Config{URL: url, Password: "b"}, []string{"password: given without user"}},
		{"half a pair", nats.Config{URL: url, TLS: nats.TLS{Cert: "c.pem"}}, []string{"tls: cert and key"}},
		{"prefix", nats.Config{URL: url, Prefix: "a.b"}, []string{"prefix:"}},
		{
			"all at once",
			nats.Config{URL: url, Replicas: 9, Limits: nats.Limits{Bytes: 1, Age: 1, Frames: -1}, Embedded: nats.Embedded{Sync: "never"}},
			[]string{"limits.bytes", "limits.age", "limits.frames", "replicas", "embedded.sync"},
		},
		{"nkey", nats.Config{URL: url, NKey: missing}, []string{"nkey", missing}},
		{"nkey content", nats.Config{URL: url, NKey: garbage}, []string{"nkey", garbage}},
		{"creds", nats.Config{URL: url, Creds: missing}, []string{"creds", missing}},
		{"ca", nats.Config{URL: url, TLS: nats.TLS{CA: missing}}, []string{"tls.ca", missing}},
		{"ca content", nats.Config{URL: url, TLS: nats.TLS{CA: garbage}}, []string{"tls.ca", garbage}},
		{"pair", nats.Config{URL: url, TLS: nats.TLS{Cert: garbage, Key: garbage}}, []string{"tls.cert"}},
		{"listen", nats.Config{Embedded: nats.Embedded{Listen: "4222", StoreDir: "x"}}, []string{"embedded.listen"}},
		{"port", nats.Config{Embedded: nats.Embedded{Listen: "127.0.0.1:x", StoreDir: "x"}}, []string{"embedded.listen"}},
		{"store", nats.Config{Embedded: nats.Embedded{Listen: "127.0.0.1:0"}}, []string{"embedded.store_dir"}},
		{"embedded login", nats.Config{Creds: "x", Embedded: nats.Embedded{Listen: "127.0.0.1:0", StoreDir: "x"}}, []string{"embedded:"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.config.Node = "alice"
			_, err := nats.New(test.config, quietLog)
			if err == nil {
				t.Fatal("taken")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v; want %q in it", err, want)
				}
			}
		})
	}
	if _, err := nats.New(nats.Config{URL: url, Node: "Alice"}, quietLog); err == nil || !strings.Contains(err.Error(), "node:") {
		t.Errorf("a node named Alice: %v", err)
	}
}

func FuzzConfigNeverShowsPasswords(f *testing.F) {
	f.Add("nats://u:", "@127.0.0.1:4222")
	f.Add("http://", "@")
	f.Add("%zz", ",")
	f.Fuzz(func(t *testing.T, before, after string) {
		const password = "pa55word-of-the-test"
		c := nats.Config{URL: before + password + after, Node: "alice"}
		c.SetDefaults()
		if err := c.Validate(); err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("%v", err)
		}
	})
}

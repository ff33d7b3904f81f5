package twister

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

const (
	alice = "mqtt_alice"
	bob   = "mqtt_bob"
)

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) count(text string) int { return strings.Count(b.String(), text) }

// eventually polls until the claim holds.
func eventually(t testing.TB, claim string, holds func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-deadline:
			t.Fatalf("never: %s", claim)
		}
	}
}

func newNetwork(t testing.TB, opts twistertest.Options) *twistertest.Network {
	t.Helper()
	n, err := twistertest.New(opts)
	require.NoError(t, err)
	t.Cleanup(n.Close)
	return n
}

func newTwisterd(t testing.TB, n *twistertest.Network, name string) *twistertest.Daemon {
	t.Helper()
	d, err := n.Daemon(name)
	require.NoError(t, err)
	return d
}

// twoTwisterds are alice's and bob's, both registered with blocks enough for 200 posts; nobody follows anybody.
func twoTwisterds(t testing.TB) (n *twistertest.Network, atAlice, atBob *twistertest.Daemon) {
	t.Helper()
	n = newNetwork(t, twistertest.Options{})
	atAlice, atBob = newTwisterd(t, n, "a"), newTwisterd(t, n, "b")
	require.NoError(t, atAlice.Register(alice))
	require.NoError(t, atBob.Register(bob))
	n.Mine(100)
	return n, atAlice, atBob
}

// testConfig is for one of the two, impatient.
func testConfig(t testing.TB, at *twistertest.Daemon, user string, peers ...string) Config {
	return Config{
		URL: at.URL(), User: user, Peers: peers, Follow: "auto", ProfileField: "mqtt_topics", Format: "weft",
		Poll: 4 * time.Millisecond, Second: 4 * time.Millisecond, ProfilePoll: 10 * time.Millisecond, DataDir: t.TempDir(),
	}
}

func newClient(t testing.TB, at *twistertest.Daemon) *rpc.Client {
	t.Helper()
	client, err := rpc.New(rpc.Config{URL: at.URL()})
	require.NoError(t, err)
	return client
}

// watched is a daemon that runs as long as the test, or until stop.
type watched struct {
	*daemon
	log  *logBuffer
	stop func()
}

func watch(t testing.TB, at *twistertest.Daemon, c Config, change ...func(*daemon)) watched {
	t.Helper()
	client, err := rpc.New(rpc.Config{URL: c.URL})
	require.NoError(t, err)
	log := &logBuffer{}
	logger := slog.New(slog.NewTextHandler(log, nil))
	d := newDaemon(c, client, newStatus(logger), func() (int, bool) { return -1, true }, logger)
	for _, f := range change {
		f(d)
	}
	w := watched{daemon: d, log: log}
	w.stop = spawn(t, d.run)
	return w
}

// spawn runs f until the test or stop ends it.
func spawn(t testing.TB, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

func (w watched) ready(t testing.TB) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := w.await(ctx)
	require.NoError(t, err, "%s", w.log)
	return s
}

func (w watched) says(t testing.TB, state transports.State, detail string) {
	t.Helper()
	eventually(t, string(state)+": "+detail, func() bool {
		r := w.status.report()
		return r.State == state && strings.Contains(r.Detail, detail)
	})
}

func following(t testing.TB, at *twistertest.Daemon, user string) []string {
	t.Helper()
	names, err := newClient(t, at).Following(t.Context(), user)
	require.NoError(t, err)
	return names
}

// raw makes a call that the transport never makes.
func raw(t testing.TB, at *twistertest.Daemon, method string, params ...any) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"id": 1, "method": method, "params": params})
	require.NoError(t, err)
	resp, err := http.Post(at.URL(), "application/json", bytes.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	http.DefaultClient.CloseIdleConnections()
}

func unfollow(t testing.TB, at *twistertest.Daemon, user, name string) {
	raw(t, at, "unfollow", user, []string{name})
}

func unlock(t testing.TB, at *twistertest.Daemon, passphrase string) {
	raw(t, at, "walletpassphrase", passphrase, 1000)
}

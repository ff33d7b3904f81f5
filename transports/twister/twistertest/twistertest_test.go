package twistertest_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/weft-relay/weft/transports/twister/rpc"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a daemon with a client.
type site struct {
	*twistertest.Daemon
	*rpc.Client
}

func newNetwork(t *testing.T, opts twistertest.Options) *twistertest.Network {
	t.Helper()
	n, err := twistertest.New(opts)
	require.NoError(t, err)
	t.Cleanup(n.Close)
	return n
}

func newSite(t *testing.T, n *twistertest.Network, name string) site {
	t.Helper()
	d, err := n.Daemon(name)
	require.NoError(t, err)
	client, err := rpc.New(rpc.Config{URL: d.URL()})
	require.NoError(t, err)
	return site{d, client}
}

// twoSites returns alice's and bob's daemons, which follow each other and themselves and have blocks enough for 1,000 posts.
func twoSites(t *testing.T, opts twistertest.Options) (*twistertest.Network, site, site) {
	t.Helper()
	n := newNetwork(t, opts)
	a, b := newSite(t, n, "a"), newSite(t, n, "b")
	warm(t, a, b)
	require.NoError(t, a.Register("mqtt_alice"))
	require.NoError(t, b.Register("mqtt_bob"))
	n.Mine(500)
	require.NoError(t, a.Daemon.Follow("mqtt_alice", "mqtt_alice", "mqtt_bob"))
	require.NoError(t, b.Daemon.Follow("mqtt_bob", "mqtt_bob", "mqtt_alice"))
	return n, a, b
}

func warm(t *testing.T, sites ...site) {
	t.Helper()
	for _, s := range sites {
		require.Eventually(t, s.Ready, 15*time.Second, time.Millisecond)
	}
}

func dm(t *testing.T, s site, k int, text string) {
	t.Helper()
	_, err := s.DirectMessage(t.Context(), "mqtt_alice", k, "mqtt_bob", text)
	require.NoError(t, err)
}

// inbox returns the texts that bob received from alice, as they are listed.
func inbox(t *testing.T, s site) []string {
	t.Helper()
	lists, err := s.DirectMessages(t.Context(), "mqtt_bob", 10000, rpc.Range{User: "mqtt_alice"})
	require.NoError(t, err)
	var texts []string
	for _, m := range lists["mqtt_alice"] {
		texts = append(texts, m.Text)
	}
	return texts
}

func arrives(t *testing.T, s site, texts ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		have := inbox(t, s)
		for _, text := range texts {
			if !slices.Contains(have, text) {
				return false
			}
		}
		return true
	}, 10*time.Second, time.Millisecond, "bob lacks some of %q", texts)
}

func lastHave(t *testing.T, s site, user, of string) int {
	t.Helper()
	have, err := s.LastHave(context.Background(), user, of)
	require.NoError(t, err)
	return have[of]
}

func numbered(n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("message %d", i)
	}
	return texts
}

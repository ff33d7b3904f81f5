package main_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// servedStatus is the admin address of a node that has this status.
func servedStatus(t *testing.T, s pipeline.Status) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(s) // the command's output shows whether it came
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestStatusGivesReasonsAfterColonsAndNoTrailingBlanks(t *testing.T) {
	down := pipeline.Report{State: transports.Connecting, Since: time.Now(), Detail: "no NATS server at 127.0.0.1:4222"}
	address := servedStatus(t, pipeline.Status{
		Node: "alice", Started: time.Now(),
		Broker:     pipeline.Report{State: transports.Up, Since: time.Now(), Dropped: map[string]uint64{"slow_client": 3, "echoes": 1}},
		Transports: map[string]pipeline.Report{"hub": down},
		Lanes: []pipeline.LaneStatus{
			{Name: "lamps/bob", Transport: "hub", State: "moving", OnItsWay: time.Now().Add(-90 * time.Minute), Stats: lanes.Stats{Depth: 1}},
			{Name: "doors/bob", Transport: "hub", State: "waiting", Error: "transport hub is connecting", Stats: lanes.Stats{Depth: 2, Bytes: 90, Delivered: 7}},
		},
	})
	got := run(t, "status", "--address", address)
	require.Zero(t, got.status, got.err)
	for line := range strings.Lines(got.out) {
		require.Equal(t, strings.TrimRight(line, " \n"), strings.TrimSuffix(line, "\n"), "trailing blanks")
	}
	require.Contains(t, got.out, "0 reconnects, dropped 1 echoes, 3 slow_client\n")
	require.Contains(t, got.out, "0 reconnects: no NATS server at 127.0.0.1:4222\n")
	address = servedStatus(t, pipeline.Status{Node: "alice", Problems: []string{"lane doors/bob is full"}})
	full := run(t, "status", "--address", address)
	require.Equal(t, 1, full.status)
	require.Contains(t, full.out, "problem  lane doors/bob is full\n")
	require.Regexp(t, `lane doors/bob +waiting +2 queued \(90 bytes\), 7 sent: transport hub is connecting\n`, got.out)
	require.Regexp(t, `lane lamps/bob +moving +1 queued \(0 bytes\), 0 sent, a frame on its way for 1h30m\ds\n`, got.out)
	require.NotContains(t, run(t, "status", "--json", "--address", address).out, "oldest")
}

func TestStatusWantsHostAndPort(t *testing.T) {
	for _, address := range []string{"9883", "http://127.0.0.1:9883", "127.0.0.1:99883", "127.0.0.1"} {
		got := run(t, "status", "--address", address)
		require.Equal(t, 2, got.status, address)
		require.Contains(t, got.err, "write HOST:PORT")
	}
}

// What a peer shows in an open directory is wrong in part: somebody has to act, and no key is the cure.
func TestStatusOfAPeerWithoutAKeyNamesNoKeys(t *testing.T) {
	peer := pipeline.PeerStatus{Name: "bob", Transport: "bird", Open: true, Known: true, ListsUs: true, Problem: "1 of 2 filters are refused"}
	up := pipeline.Report{State: transports.Up, Since: time.Now()}
	got := run(t, "status", "--address", servedStatus(t, pipeline.Status{Node: "alice", Key: "ed25519:A", Broker: up, Peers: []pipeline.PeerStatus{peer}}))
	require.Equal(t, 1, got.status)
	require.Contains(t, got.out, "1 of 2 filters are refused")
	require.NotContains(t, got.out, "ed25519")
}

// Two owners do not agree on a key. Does the status name both keys, and say by its exit that somebody has to act?
func TestStatusShowsBothKeysWherePeersDoNotAgree(t *testing.T) {
	up := pipeline.Report{State: transports.Up, Since: time.Now()}
	for _, tt := range []struct {
		name   string
		peer   pipeline.PeerStatus
		status int
	}{
		{"not listed, or with another key", pipeline.PeerStatus{Known: true}, 1},
		{"another key than announced", pipeline.PeerStatus{Known: true, ListsUs: true, Problem: "not signed with the key"}, 1},
		{"never heard of", pipeline.PeerStatus{}, 0},
		{"agreed", pipeline.PeerStatus{Known: true, ListsUs: true}, 0},
	} {
		tt.peer.Name, tt.peer.Key, tt.peer.Transport = "bob", "ed25519:B", "hub"
		got := run(t, "status", "--address", servedStatus(t, pipeline.Status{
			Node: "alice", Key: "ed25519:A", Broker: up, Peers: []pipeline.PeerStatus{tt.peer},
		}))
		require.Equal(t, tt.status, got.status, tt.name)
		require.Empty(t, got.err)
		for _, entry := range []string{`{name: alice, key: "ed25519:A"}`, `{name: bob, key: "ed25519:B"}`} {
			require.Equal(t, tt.status == 1, strings.Contains(got.out, entry), "%s: %s", tt.name, got.out)
		}
	}
}

package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/transports"
)

var since = time.Date(2026, 11, 27, 12, 0, 0, 0, time.Local)

// meshed is the status of a node with a peer that it reaches and one that it does not.
func meshed() pipeline.Status {
	up := pipeline.Report{State: transports.Up, Since: since}
	return pipeline.Status{
		Node: "alice", Broker: up,
		Transports: map[string]pipeline.Report{"hub": up, "mesh": {State: up.State, Since: since, Mesh: &pipeline.Mesh{
			ID: "12D3KooWself", Addresses: []string{"/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWself"}, Public: "unknown", Nodes: 3,
			Peers: []pipeline.Reach{
				{
					Peer: "bob", ID: "12D3KooWbob", How: "direct TCP", Since: since, Address: "/ip4/192.0.2.2/tcp/4001", Latency: 1234567,
					Profile: 12, Feed: &pipeline.FeedPlace{First: 3, Next: 10, Taken: 8, Missed: 2}, InFlight: 5,
				},
				{Peer: "carol", ID: "12D3KooWcarol", How: "unreachable", Since: since, Trouble: "no address is known"},
				{Peer: "dave", ID: "12D3KooWdave", How: "relayed", Since: since, Address: "/ip4/192.0.2.4/tcp/4001", Trouble: "it refuses"},
			},
		}}},
		Peers: []pipeline.PeerStatus{
			{Name: "bob", Transport: "hub", Known: true, ListsUs: true, Filters: []string{"other"}},
			{Name: "bob", Transport: "mesh", Known: true, ListsUs: true, Filters: []string{"doors/#", "lamps/+"}},
			{Name: "carol", Transport: "mesh"},
		},
	}
}

func TestStatusSaysHowEachPeerOfAMeshIsReached(t *testing.T) {
	got := run(t, "status", "--address", servedStatus(t, meshed()))
	require.Zero(t, got.status, got.err)
	require.Regexp(t, `transport mesh +up .*
 +reached at +/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWself
 +public +unknown, no stranger has tried to reach this node
 +to bob +direct TCP since 2026-11-27 12:00:00, 1.23ms
 +to carol +unreachable since 2026-11-27 12:00:00: no address is known
 +to dave +relayed since 2026-11-27 12:00:00: it refuses
`, got.out)
	for line := range strings.Lines(got.out) {
		require.Equal(t, strings.TrimRight(line, " \n"), strings.TrimSuffix(line, "\n"), "trailing blanks")
	}
}

func TestPeersShowsTheMesh(t *testing.T) {
	address := servedStatus(t, meshed())
	require.Equal(t, result{0, `mesh: nodes connected: 3, public: unknown, no stranger has tried to reach this node
  reached at /ip4/192.0.2.1/tcp/4001/p2p/12D3KooWself
PEER   HOW          SINCE                LATENCY  WANTS  PROFILE  FEED    MISSED  WAITING  ADDRESS
bob    direct TCP   2026-11-27 12:00:00  1.23ms   2      12       7 of 9  2       5        /ip4/192.0.2.2/tcp/4001
carol  unreachable  2026-11-27 12:00:00  -        0      -        -       -       0        no address is known
dave   relayed      2026-11-27 12:00:00  -        0      -        -       -       0        /ip4/192.0.2.4/tcp/4001: it refuses
`, ""}, run(t, "peers", "--address", address))

	got := run(t, "peers", "--json", "--address", address)
	require.Zero(t, got.status, got.err)
	var meshes []struct {
		Transport, ID, Public string
		Nodes                 int
		Peers                 []struct {
			Peer    string
			How     string
			Latency time.Duration `json:"latency_ns"`
			Filters []string
			Feed    *pipeline.FeedPlace
		}
	}
	require.NoError(t, json.Unmarshal([]byte(got.out), &meshes))
	require.Len(t, meshes, 1)
	require.Equal(t, "mesh", meshes[0].Transport)
	require.Equal(t, 3, meshes[0].Nodes)
	require.Len(t, meshes[0].Peers, 3)
	require.Equal(t, []string{"doors/#", "lamps/+"}, meshes[0].Peers[0].Filters)
	require.EqualValues(t, 2, meshes[0].Peers[0].Feed.Missed)
	require.Nil(t, meshes[0].Peers[1].Feed)
}

func TestPeersAndPingSayWhyThereIsNothingToShow(t *testing.T) {
	hub := servedStatus(t, pipeline.Status{Node: "alice", Transports: map[string]pipeline.Report{"hub": {}}})
	require.Equal(t, result{1, "", "weft: alice has no mesh: no transport of type kademlia; `weft status` shows the peers of others\n"}, run(t, "peers", "--address", hub))
	silent := write(t, "weft.yaml", "node: alice\nadmin: {listen: ''}\n")
	for _, args := range [][]string{{"peers"}, {"peers", "ping", "bob"}} {
		require.Equal(t, result{1, "", "weft: " + silent + ": no admin address; add admin: {listen: 127.0.0.1:9883} and start the node again\n"}, run(t, append(args, "-c", silent)...))
		require.Equal(t, result{1, "", "weft: nobody answers at 127.0.0.1:1: the node is not running, or has another admin address\n"}, run(t, append(args, "--address", "127.0.0.1:1")...))
	}
	got := run(t, "peers", "ping", "bob", "--address", hub)
	require.Equal(t, 1, got.status)
	require.Contains(t, got.err, "is not weft's admin service")
	for want, args := range map[string][]string{
		"no peer; give the name of one": {"peers", "ping"},
		`extra argument "carol"`:        {"peers", "ping", "bob", "carol"},
		`extra argument "bob"`:          {"peers", "bob"},
		"write a whole number":          {"peers", "ping", "bob", "-n", "-1"},
	} {
		got := run(t, args...)
		require.Equal(t, 2, got.status, args)
		require.Contains(t, got.err, want)
	}
}

func TestPingAsksTheNodeSoManyTimes(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/api/v1/peers/bob/ping?transport=mesh", r.URL.String())
		if asked++; asked > 3 {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprintln(w, `{"error": "transport mesh: bob is not connected"}`)
			return
		}
		_ = json.NewEncoder(w).Encode(pipeline.Echo{Peer: "bob", Transport: "mesh", Time: time.Duration(asked) * time.Millisecond})
	}))
	defer server.Close()
	ping := func(n string) result {
		return run(t, "peers", "ping", "bob", "-n", n, "--transport", "mesh", "--address", strings.TrimPrefix(server.URL, "http://"))
	}
	require.Equal(t, result{0, "bob over mesh: 1ms\nbob over mesh: 2ms\nleast 1ms, average 1.5ms, most 2ms\n", ""}, ping("2"))
	require.Equal(t, result{1, "bob over mesh: 3ms\n", "weft: transport mesh: bob is not connected\n"}, ping("2"))
}

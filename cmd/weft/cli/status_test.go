package cli_test

import (
	"encoding/json"
	"fmt"
	"net"
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

func TestStatusLeavesOutWhatIsNotKnownOfAPlugin(t *testing.T) {
	got := run(t, "status", "--address", servedStatus(t, pipeline.Status{Node: "alice", Plugins: []pipeline.PluginStatus{
		{Name: "gone", State: "waiting", Restarts: 4, Error: "no such file"},
		{Name: "lora", State: "running", Program: "modem", Version: "1.0.0", PID: 7, Memory: 16 << 20, LinesSkipped: 9},
		{Name: "new", State: "running", Program: "modem", Version: "1.0.0", PID: 8},
	}}))
	require.Regexp(t, `(?m)^plugin gone +waiting +4 restarts: no such file$`, got.out)
	require.Regexp(t, `(?m)^plugin lora +running +modem 1\.0\.0, pid 7 since [-: 0-9]+, 16 MiB, 9 lines not logged, 0 restarts$`, got.out)
	require.Regexp(t, `(?m)^plugin new +running +modem 1\.0\.0, pid 8 since [-: 0-9]+, 0 restarts$`, got.out)
}

func TestStatusSaysHowManyPostsAreLeftWhereThatIsKnown(t *testing.T) {
	for want, posts := range map[string]transports.Posts{
		"5 posts used, how many are left is not known yet, one more every 5m0s": {Used: 5, Refill: 5 * time.Minute},
		"5 posts used, at least 8 left":                                         {Used: 5, Left: 8},
		"5 posts used, 8 left":                                                  {Used: 5, Left: 8, Exact: true},
		"5 posts used, none left beside the margin, one more every 5m0s":        {Used: 5, Exact: true, Refill: 5 * time.Minute},
	} {
		report := pipeline.Report{State: transports.Up, Since: time.Now(), Posts: &posts}
		got := run(t, "status", "--address", servedStatus(t, pipeline.Status{Node: "alice", Transports: map[string]pipeline.Report{"bird": report}}))
		require.Contains(t, got.out, ", 0 reconnects, "+want+"\n")
	}
}

// Is a node asked although its file has mistakes elsewhere, as after an edit?
func TestStatusNeedsOnlyTheAdminAddressOfTheFile(t *testing.T) {
	address := servedStatus(t, pipeline.Status{Node: "alice"})
	broken := "node: alice\nbroker: {url: nonsense}\nroutes: [{}]\nnonsense: 1\n"
	got := run(t, "status", "-c", write(t, "weft.yaml", broken+"admin: {listen: '"+address+"'}\n"))
	require.Zero(t, got.status, got.err)
	require.Contains(t, got.out, "node    alice")
	path := write(t, "weft.yaml", broken+"admin: {listen: nonsense}\n")
	got = run(t, "status", "-c", path)
	require.Equal(t, 1, got.status)
	require.Equal(t, path+`:5: admin.listen: "nonsense" is not an address; write HOST:PORT, such as 127.0.0.1:9883 or [::1]:9883`+"\n", got.err)
}

func TestStatusSaysThatTheFileWasNotTakenUp(t *testing.T) {
	got := run(t, "status", "--address", servedStatus(t, pipeline.Status{Node: "alice", FileProblem: "weft.yaml was not taken up"}))
	require.Equal(t, 1, got.status)
	require.Contains(t, got.out, "problem  weft.yaml was not taken up\n")
}

func TestStatusShowsTheFirstOfManyFilters(t *testing.T) {
	peer := pipeline.PeerStatus{Name: "bob", Transport: "hub", Known: true, ListsUs: true}
	for i := range 300 {
		peer.Filters = append(peer.Filters, fmt.Sprintf("f/%d", i))
	}
	address := servedStatus(t, pipeline.Status{Node: "alice", Peers: []pipeline.PeerStatus{peer}})
	require.Contains(t, run(t, "status", "--address", address).out, "wants f/0, f/1, f/2, f/3, f/4, … 295 more\n")
	require.Contains(t, run(t, "status", "--json", "--address", address).out, "f/299")
}

// Does the status say so where something else answers at the address?
func TestStatusKnowsWhatIsNotWeft(t *testing.T) {
	silent := func(conn net.Conn) { _ = conn.Close() }
	mqtt := func(conn net.Conn) { _, _ = conn.Write([]byte{0x20, 2, 0, 0}); _ = conn.Close() }
	for _, serve := range []func(net.Conn){silent, mqtt} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				serve(conn)
			}
		}()
		address := listener.Addr().String()
		require.Equal(t, result{1, "", "weft: what answers at " + address + " is not weft's admin service; give the address of admin.listen\n"}, run(t, "status", "--address", address))
	}
	for _, handler := range []http.Handler{http.NotFoundHandler(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "{}") })} {
		server := httptest.NewServer(handler)
		defer server.Close()
		got := run(t, "status", "--address", strings.TrimPrefix(server.URL, "http://"))
		require.Equal(t, 1, got.status)
		require.Contains(t, got.err, "is not weft's admin service")
	}
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

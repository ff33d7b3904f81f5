package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/transports"
)

// object and list are pieces of a weft.yaml, which is written as JSON.
type (
	object = map[string]any
	list   = []any
)

// node is a `weft run`.
type node struct {
	*program
	file   string
	admin  string
	config object // written to the file at each start and reload
}

func newNode(t *testing.T, name string) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{file: filepath.Join(dir, "weft.yaml"), admin: freeAddr(t)}
	n.config = object{"node": name, "data_dir": "data", "admin": object{"listen": n.admin}}
	n.program = newProgram(t, dir, name, weftBin, "run", "-c", n.file)
	return n
}

func (n *node) dataDir() string { return filepath.Join(filepath.Dir(n.file), "data") }

func (n *node) write() {
	n.t.Helper()
	text, err := json.MarshalIndent(n.config, "", "  ")
	require.NoError(n.t, err)
	require.NoError(n.t, os.WriteFile(n.file, text, 0o600))
}

// id runs `weft id` and returns what it prints, a peer's entry.
func (n *node) id() string {
	n.t.Helper()
	n.write()
	out, err := exec.Command(weftBin, "id", "-c", n.file).Output()
	require.NoError(n.t, err, "weft id")
	return string(out)
}

// start starts the node and waits until it answers about itself.
func (n *node) start() {
	n.t.Helper()
	n.write()
	n.program.start()
	awaitListening(n.t, n.program, n.admin)
}

// reload makes the node take over its configuration.
func (n *node) reload() {
	n.t.Helper()
	n.write()
	n.signal(syscall.SIGHUP)
}

// get returns a page of the admin service.
func (n *node) get(path string) (status int, body string, err error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + n.admin + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// status returns the node's account of itself, or an error while it has none.
func (n *node) status() (s pipeline.Status, err error) {
	_, body, err := n.get("/api/v1/status")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(body), &s)
}

// await waits until the node's status satisfies check.
func (n *node) await(within time.Duration, check func(s pipeline.Status) error) {
	n.t.Helper()
	eventually(n.t, within, func() error {
		s, err := n.status()
		if err != nil {
			return err
		}
		return check(s)
	})
}

// awaitReady waits until the broker and all transports are up.
func (n *node) awaitReady() {
	n.t.Helper()
	eventually(n.t, 30*time.Second, func() error {
		code, body, err := n.get("/readyz")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%s is not ready: %s", n.name, body)
		}
		return err
	})
}

// awaitWishes waits until the node knows that the peer wants these filters of it.
func (n *node) awaitWishes(peer string, filters ...string) {
	n.t.Helper()
	slices.Sort(filters)
	n.await(30*time.Second, func(s pipeline.Status) error {
		for _, p := range s.Peers {
			if p.Name == peer && p.ListsUs && slices.Equal(p.Filters, filters) {
				return nil
			}
		}
		return fmt.Errorf("%s does not know that %s wants %q: %+v", n.name, peer, filters, s.Peers)
	})
}

// awaitEmpty waits until nothing is queued in the node's lanes.
func (n *node) awaitEmpty(within time.Duration) {
	n.t.Helper()
	n.await(within, func(s pipeline.Status) error {
		for _, l := range s.Lanes {
			if l.Depth > 0 {
				return fmt.Errorf("lane %s holds %d messages, state %s: %s", l.Name, l.Depth, l.State, l.Error)
			}
		}
		return nil
	})
}

// lane returns the account of one lane.
func lane(t *testing.T, s pipeline.Status, name string) pipeline.LaneStatus {
	t.Helper()
	for _, l := range s.Lanes {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("no lane %s among %+v", name, s.Lanes)
	return pipeline.LaneStatus{}
}

// site is a broker with the node beside it.
type site struct {
	name   string
	broker *broker
	node   *node
}

// mesh is sites that are all peers of each other, joined by one nats-server. Every site wants everything of every other:
// a test that wants less changes the nodes' configuration before it starts them.
type mesh struct {
	t      *testing.T
	nats   *natsServer // nil where the nodes need none
	sites  []*site
	joined func(a, b int) bool // whether two sites list each other; nil means all do
}

// newMesh makes sites without starting anything. The lines are for each Mosquitto, beside those that let it queue for an
// absent client without a limit.
func newMesh(t *testing.T, names []string, lines ...string) *mesh {
	t.Helper()
	m := &mesh{t: t, nats: newNATS(t)}
	for _, name := range names {
		b := newBroker(t, name, append([]string{"max_queued_messages 0"}, lines...)...)
		n := newNode(t, name)
		n.config["broker"] = object{"url": b.url()}
		n.config["subscribe"] = list{"#"}
		n.config["transports"] = object{"hub": object{"type": "nats", "url": m.nats.url()}}
		n.config["routes"] = list{object{"name": "all", "match": list{"#"}, "to": "hub", "qos": 2}}
		m.sites = append(m.sites, &site{name, b, n})
	}
	return m
}

// peers returns the sites that list each other with this one.
func (m *mesh) peers(of *site) []*site {
	var peers []*site
	self := slices.Index(m.sites, of)
	for i, other := range m.sites {
		if other != of && (m.joined == nil || m.joined(self, i)) {
			peers = append(peers, other)
		}
	}
	return peers
}

// introduce puts every node into its peers' lists.
func (m *mesh) introduce() {
	m.t.Helper()
	entries := make(map[*site]json.RawMessage, len(m.sites))
	for _, s := range m.sites {
		entries[s] = peerEntry(m.t, s.node)
	}
	for _, s := range m.sites {
		list := list{}
		for _, other := range m.peers(s) {
			list = append(list, entries[other])
		}
		s.node.config["peers"] = list
	}
}

// peerEntry turns what `weft id` prints, {name: alice, key: "ed25519:…"}, into the JSON that the tests write.
func peerEntry(t *testing.T, n *node) json.RawMessage {
	t.Helper()
	var name, key string
	line := n.id()
	_, err := fmt.Sscanf(line, "{name: %s key: %q}\n", &name, &key)
	require.NoError(t, err, "weft id printed %q", line)
	entry, err := json.Marshal(object{"name": name[:len(name)-1], "key": key})
	require.NoError(t, err)
	return entry
}

// start starts everything and waits until every node is ready and knows what the others want.
func (m *mesh) start() {
	m.t.Helper()
	m.introduce()
	if m.nats != nil {
		m.nats.start()
	}
	for _, s := range m.sites {
		if s.broker != nil { // else it is built into the node
			s.broker.start()
		}
		s.node.start()
	}
	m.awaitLinked()
}

// awaitLinked waits until every node is ready and knows what its peers want.
func (m *mesh) awaitLinked() {
	m.t.Helper()
	for _, s := range m.sites {
		s.node.awaitReady()
		for _, other := range m.peers(s) {
			s.node.awaitWishes(other.name, wishes(other.node)...)
		}
	}
}

// awaitFollower waits until the network keeps the peers' broadcasts for a site: it follows from then on.
func (m *mesh) awaitFollower(name string) {
	m.t.Helper()
	js, err := jetstream.New(m.nats.connect())
	require.NoError(m.t, err)
	eventually(m.t, 10*time.Second, func() error {
		_, err := js.Consumer(m.t.Context(), "WEFT_FEED", name)
		return err
	})
}

// wishes returns the filters that a node's configuration subscribes to.
func wishes(n *node) []string {
	var filters []string
	for _, entry := range n.config["subscribe"].(list) {
		switch entry := entry.(type) {
		case string:
			filters = append(filters, entry)
		case object:
			filters = append(filters, entry["filter"].(string))
		}
	}
	return filters
}

// pair is a mesh of two.
func pair(t *testing.T, lines ...string) (m *mesh, alice, bob *site) {
	t.Helper()
	m = newMesh(t, []string{"alice", "bob"}, lines...)
	return m, m.sites[0], m.sites[1]
}

// state checks a report.
func state(what string, r transports.Report, want transports.State) error {
	if r.State != want {
		return fmt.Errorf("%s is %s, not %s: %s", what, r.State, want, r.Detail)
	}
	return nil
}

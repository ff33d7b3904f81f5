package twistertest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// scene is a run of records on daemons that were set up afresh.
type scene struct {
	line   int // of its first record
	name   string
	seed   uint64 // chosen so that copy_self shuffles as it did in the record
	cold   bool   // daemons warm up until the scene says that they have
	opts   twistertest.Options
	set    func(p *play)
	before map[int]func(p *play)
}

func (s scene) open(t *testing.T) *play {
	t.Helper()
	p := &play{t: t, scene: s, nodes: map[string]*twistertest.Daemon{}, aliases: map[string]string{}}
	opts := s.opts
	opts.Now, opts.Seed = p.clock, s.seed
	if s.cold {
		opts.Speed.WarmUp = time.Hour
	}
	p.at(0)
	p.net = newNetwork(t, opts)
	s.set(p)
	return p
}

// node adds a daemon by its name in the records.
func (p *play) node(name string) *twistertest.Daemon {
	if p.nodes[name] == nil {
		d, err := p.net.Daemon(name)
		require.NoError(p.t, err)
		p.nodes[name] = d
	}
	return p.nodes[name]
}

func (p *play) warm(names ...string) {
	for _, name := range names {
		twistertest.OpenSession(p.node(name))
		twistertest.Load(p.node(name))
	}
}

func (p *play) restart(names ...string) {
	for _, name := range names {
		p.node(name).Stop()
	}
	for _, name := range names {
		require.NoError(p.t, p.node(name).Start())
	}
}

func (p *play) do(node, method string, params ...any) any {
	p.t.Helper()
	result, err := twistertest.Do(p.node(node), method, params...)
	require.NoError(p.t, err, "%s: %s %v", node, method, params)
	return result
}

func owner(user string) string {
	if user == "mqtt_bob" {
		return "n2"
	}
	return "n1"
}

// dm sends what was not recorded, from alice's node n1 or bob's n2.
func (p *play) dm(from string, k int, to, text string) {
	p.t.Helper()
	p.do(owner(from), "newdirectmsg", from, int64(k), to, text)
}

func (p *play) post(from string, k int, text string) {
	p.t.Helper()
	p.do(owner(from), "newpostmsg", from, int64(k), text)
}

func (p *play) follow(node, user string, names ...any) {
	p.t.Helper()
	p.do(node, "follow", user, names)
}

// pair sets the two-node network that most scenes begin with: alice on n1, registered at height 6, and bob on n2.
func pair(height int) func(p *play) {
	return func(p *play) {
		p.register("n1", "mqtt_alice", 6)
		p.register("n2", "mqtt_bob", 7)
		p.net.Mine(height - p.net.Height())
		if p.scene.cold {
			p.warm("n1", "n2")
		}
		p.follow("n1", "mqtt_alice", "mqtt_alice", "mqtt_bob")
		p.follow("n2", "mqtt_bob", "mqtt_bob", "mqtt_alice")
	}
}

// register makes a user at a height.
func (p *play) register(node, user string, height int) {
	p.t.Helper()
	p.net.Mine(height - 1 - p.net.Height())
	require.NoError(p.t, p.node(node).Register(user))
	p.net.Mine(1)
}

// fill posts every k that a recorded bitfield shows and that is free yet.
func (p *play) fill(node, user, bitfield string) {
	p.t.Helper()
	for k, bit := range bitfield {
		if bit == '1' && p.node(node).Missing(user, k) {
			p.do(node, "newpostmsg", user, int64(k), strings.Repeat("x", 10))
		}
	}
}

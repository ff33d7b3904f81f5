//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/plugins"
)

// scenario is one way from a publisher to a subscriber. A new one is a function and a line in scenarios.
type scenario struct {
	name  string
	needs []string // programs, keys of packages
	// start brings the path up with the site's help and returns the addresses of the brokers at its two ends.
	start func(ctx context.Context, s *site) (in, out string, err error)
}

// reference is the scenario that the others are compared with.
const reference = "bridge"

var scenarios = []scenario{
	{name: "mosquitto", start: oneMosquitto},
	{name: reference, start: mosquittoBridge},
	{name: "weft-nats", needs: []string{"weft", "nats-server"}, start: weftOverNATS("")},
	{name: "weft-stage", needs: []string{"weft", "nats-server"}, start: weftOverNATS(", stages: [{type: rename, from: none/a, to: none/b}]")},
	{name: "weft-plugin", needs: []string{"weft", "nats-server"}, start: weftOverNATS(", stages: [bench.pass]")},
	{name: "weft-mesh", needs: []string{"weft"}, start: weftOverMesh(0)},
	{name: "weft-mesh-far", needs: []string{"weft"}, start: weftOverMesh(25 * time.Millisecond)},
	{name: "weft-twister", needs: []string{"weft"}, start: weftOverTwister("on", "")},
	{name: "weft-twister-unbatched", needs: []string{"weft"}, start: weftOverTwister("off", ", batch: {count: 1}")},
}

// packages are the programs that are built for the measurement, by name.
var packages = map[string]string{
	"weft":        "github.com/weft-relay/weft/cmd/weft",
	"nats-server": "github.com/nats-io/nats-server/v2",
}

func scenarioNames() []string {
	names := make([]string, 0, len(scenarios))
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

func findScenario(name string) (scenario, error) {
	for _, s := range scenarios {
		if s.name == name {
			return s, nil
		}
	}
	return scenario{}, fmt.Errorf("no scenario %q; there are %s", name, strings.Join(scenarioNames(), ", "))
}

// oneMosquitto is what no bridge can beat: publisher and subscriber on the same broker.
func oneMosquitto(ctx context.Context, s *site) (in, out string, err error) {
	addr, err := s.mosquitto(ctx, "broker", "")
	return addr, addr, err
}

// mosquittoBridge is Mosquitto's own bridge between two Mosquittos.
func mosquittoBridge(ctx context.Context, s *site) (in, out string, err error) {
	if out, err = s.mosquitto(ctx, "broker-b", ""); err != nil {
		return "", "", err
	}
	in, err = s.mosquitto(ctx, "broker-a", fmt.Sprintf(`
connection bench
address %s
topic %s out %d
bridge_protocol_version mqttv311
notifications false
restart_timeout 1
`, out, filter, s.qos))
	return in, out, err
}

// weftOverNATS is two nodes, each beside a Mosquitto, over one JetStream server. The route has what route adds.
func weftOverNATS(route string) func(ctx context.Context, s *site) (in, out string, err error) {
	return func(ctx context.Context, s *site) (in, out string, err error) {
		hub, err := s.nats(ctx)
		if err != nil {
			return "", "", err
		}
		link := fmt.Sprintf("{type: nats, url: nats://%s}", hub)
		return s.weftPair(ctx, link, link, route)
	}
}

// weftOverTwister is two nodes over simulated daemons that take as long as real ones. What the simulation costs counts as the load's.
func weftOverTwister(receipts, batch string) func(ctx context.Context, s *site) (in, out string, err error) {
	return func(ctx context.Context, s *site) (in, out string, err error) {
		network, err := plugins.SimulateTwister("alice", "bob")
		if err != nil {
			return "", "", err
		}
		s.ends = append(s.ends, network.Close)
		link := func(user string) string {
			return fmt.Sprintf("{type: twister, url: %q, user: %s, poll: 100ms, profile_poll: 1s, receipt_delay: 100ms, receipts: %q}", network.URL(user), user, receipts)
		}
		return s.weftPair(ctx, link("alice"), link("bob"), batch)
	}
}

// weftOverMesh is two nodes, each beside a Mosquitto, with nothing between them but a TCP connection, which takes that long each way.
func weftOverMesh(delay time.Duration) func(ctx context.Context, s *site) (in, out string, err error) {
	return func(ctx context.Context, s *site) (in, out string, err error) {
		port, err := freePort()
		if err != nil {
			return "", "", err
		}
		entry := port
		if delay > 0 {
			if s.far, err = listenFar(loopback(port), delay); err != nil {
				return "", "", err
			}
			s.ends = append(s.ends, s.far.close)
			entry = s.far.port()
		}
		bob, err := s.meshID(ctx, "bob")
		if err != nil {
			return "", "", err
		}
		// Nobody can dial alice, and she knows of no way to bob but this one.
		alice := fmt.Sprintf("{type: kademlia, mdns: false, listen: [], bootstrap: [%s/p2p/%s]}", meshAddress(entry), bob)
		return s.weftPair(ctx, alice, fmt.Sprintf("{type: kademlia, mdns: false, listen: [%s]}", meshAddress(port)), "")
	}
}

func meshAddress(port int) string { return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port) }

// meshID returns what a node is called in a mesh.
func (s *site) meshID(ctx context.Context, name string) (string, error) {
	if _, err := s.identity(ctx, name); err != nil {
		return "", err
	}
	id, err := identity.Load(filepath.Join(s.dir, name))
	if err != nil {
		return "", err
	}
	return plugins.MeshID(id.Public())
}

// weftPair starts two Mosquittos and a node beside each, alice to send and bob to receive, each over its end of the link. The route
// has what route adds.
func (s *site) weftPair(ctx context.Context, aliceLink, bobLink, route string) (in, out string, err error) {
	if in, err = s.mosquitto(ctx, "broker-a", ""); err != nil {
		return "", "", err
	}
	if out, err = s.mosquitto(ctx, "broker-b", ""); err != nil {
		return "", "", err
	}
	alice, err := s.identity(ctx, "alice")
	if err != nil {
		return "", "", err
	}
	bob, err := s.identity(ctx, "bob")
	if err != nil {
		return "", "", err
	}
	if err := s.node(ctx, "bob", nodeConfig(out, bobLink, alice, fmt.Sprintf("subscribe: [%q]", filter))); err != nil {
		return "", "", err
	}
	routes := fmt.Sprintf("routes: [{name: fridges, match: [%q], to: link, qos: %d%s}]", filter, s.qos, route)
	if strings.Contains(route, "bench.") {
		self, err := os.Executable()
		if err != nil {
			return "", "", err
		}
		routes += fmt.Sprintf("\nplugins: [{name: bench, command: [%q]}]", self)
	}
	return in, out, s.node(ctx, "alice", nodeConfig(in, aliceLink, bob, routes))
}

// nodeConfig returns a node's configuration below its name.
func nodeConfig(broker, transport, peer, rest string) string {
	return fmt.Sprintf("broker: {url: mqtt://%s, max_inflight_qos2: 1000}\npeers: [%s]\ntransports: {link: %s}\n%s\n", broker, peer, transport, rest)
}

// identity makes a node's identity and returns its line for a peer's configuration.
func (s *site) identity(ctx context.Context, name string) (string, error) {
	file := filepath.Join(s.dir, name+".yaml")
	if err := os.WriteFile(file, []byte("node: "+name+"\n"), 0o600); err != nil {
		return "", err
	}
	id := exec.CommandContext(ctx, s.bin["weft"], "id", "-c", file)
	id.Dir = s.dir
	line, err := id.Output()
	if err != nil {
		return "", fmt.Errorf("weft id of %s: %w", name, err)
	}
	return string(bytes.TrimSpace(line)), nil
}

// node starts a node with its built-in defaults and what config adds.
func (s *site) node(ctx context.Context, name, config string) error {
	admin, err := s.address()
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, name+".yaml")
	text := fmt.Sprintf("node: %s\n%sadmin: {listen: %s}\n", name, config, admin)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	p, err := s.spawn(name, s.bin["weft"], "run", "-c", file)
	if err != nil {
		return err
	}
	p.admin = admin
	return p.awaitListening(ctx, admin)
}

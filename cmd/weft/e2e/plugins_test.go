package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/serve"
	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
)

// servePlugin is what this binary is when a node starts it: a plugin with a stage that passes everything on, and with NATS, as it is
// built in.
func servePlugin() {
	serve.Main(
		serve.Stage("pass", func(struct{}, *slog.Logger) (passing, error) { return passing{}, nil }),
		serve.Transport("nats", func(c hubConfig, log *slog.Logger) (*nats.Transport, error) { return nats.New(c.Config, log) }),
	)
}

type passing struct{}

func (passing) Process(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	return stage.Output{Messages: in}, nil
}

type hubConfig struct {
	nats.Config `yaml:",inline"`
}

func (c *hubConfig) SetNode(n transports.Node) { c.Node, c.Follow = n.Name, n.Names() }

// pluginOf is an entry of plugins: this binary.
func pluginOf(name string) object {
	return object{"name": name, "command": list{os.Args[0]}, "timeout": "2s"}
}

// plugin returns the account of a node's only plugin, when it runs.
func (n *node) plugin(t *testing.T) (p pipeline.PluginStatus) {
	t.Helper()
	n.await(30*time.Second, func(s pipeline.Status) error {
		if len(s.Plugins) != 1 || s.Plugins[0].State != "running" {
			return fmt.Errorf("plugins: %+v", s.Plugins)
		}
		p = s.Plugins[0]
		return nil
	})
	return p
}

// A route takes its messages through a program that is killed, or hangs, again and again. Is nothing lost, doubled or out of order, and does
// the other route not wait for it?
func TestPluginThatIsKilledOrHangsCostsItsOwnRouteOnly(t *testing.T) {
	t.Parallel()
	m, alice, bob := pair(t)
	alice.node.config["plugins"] = list{pluginOf("own")}
	alice.node.config["subscribe"] = list{}
	alice.node.config["routes"] = list{
		object{"name": "through", "match": list{"q1/#", "q2/#"}, "to": "hub", "qos": 2, "stages": list{"own.pass"}},
		object{"name": "beside", "match": list{"beside/#"}, "to": "hub", "qos": 2},
	}
	bob.node.config["routes"] = list{}
	m.start()
	alice.node.plugin(t)
	once, atLeast := newRecord(t, bob.broker.addr, "q2/#", 2), newRecord(t, bob.broker.addr, "q1/#", 1)
	beside := newRecord(t, bob.broker.addr, "beside/#", 1)
	q1, q2, other := newLoad(t, alice.broker.addr, "q1", 1), newLoad(t, alice.broker.addr, "q2", 2), newLoad(t, alice.broker.addr, "beside", 1)
	stops := []func(){}
	for _, l := range []*load{q1, q2, other} {
		l.pace = 4 * time.Millisecond
		stops = append(stops, l.start(t))
	}
	for round := range rounds(t) / 5 {
		once.awaitMore(t, 20, 60*time.Second)
		p := alice.node.plugin(t)
		signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP}[round%2] // one that is stopped hangs
		require.NoError(t, syscall.Kill(p.PID, signal))
		beside.awaitMore(t, 20, 60*time.Second)
		alice.node.await(60*time.Second, func(s pipeline.Status) error {
			if s.Plugins[0].PID == p.PID {
				return fmt.Errorf("it was not started again: %+v", s.Plugins)
			}
			return nil
		})
	}
	for _, stop := range stops {
		stop()
	}
	atLeast.awaitAll(t, q1, 60*time.Second)
	once.awaitAll(t, q2, 60*time.Second)
	beside.awaitAll(t, other, 60*time.Second)
	atLeast.requireOrder(t)
	once.requireOrder(t)
	once.requireOnce(t)
	_, metrics, err := alice.node.get("/metrics")
	require.NoError(t, err)
	require.Contains(t, metrics, `weft_plugin_restarts_total{plugin="own"}`)
}

// A plugin cannot be started at all. Does its node run and say so, do its messages wait, and do others go on?
func TestPluginThatIsNotThereKeepsNoNodeFromRunning(t *testing.T) {
	m, alice, bob := pair(t)
	gone := filepath.Join(t.TempDir(), "gone")
	alice.node.config["plugins"] = list{object{"name": "own", "command": list{gone}, "timeout": "2s"}}
	alice.node.config["routes"] = list{
		object{"name": "through", "match": list{"through/#"}, "to": "hub", "stages": list{"own.pass"}},
		object{"name": "beside", "match": list{"beside/#"}, "to": "hub"},
	}
	m.introduce()
	m.nats.start()
	for _, s := range m.sites {
		s.broker.start()
		s.node.start()
	}
	alice.node.awaitWishes("bob", "#")
	sub := bob.broker.sub("-t", "#", "-F", "%t %p")
	alice.broker.pub("-t", "through/1", "-q", "1", "-m", "waits")
	alice.broker.pub("-t", "beside/1", "-q", "1", "-m", "goes")
	eventuallyHas(t, sub, "beside/1 goes")
	_, why, err := alice.node.get("/readyz")
	require.NoError(t, err)
	require.Contains(t, why, "plugin own is")
	require.Contains(t, why, gone)
	s, err := alice.node.status()
	require.NoError(t, err)
	require.Len(t, s.Plugins, 1)

	text, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(gone, text, 0o700)) //nolint:gosec // a program
	eventuallyHas(t, sub, "through/1 waits")
}

// Is no plugin left when its node is killed?
func TestNoPluginOutlivesItsNode(t *testing.T) {
	m, alice, _ := pair(t)
	alice.node.config["plugins"] = list{pluginOf("own")}
	m.start()
	p := alice.node.plugin(t)
	require.NotZero(t, p.PID)
	alice.node.kill()
	eventually(t, 20*time.Second, func() error {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", p.PID)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("process %d is there yet: %w", p.PID, err)
		}
		return nil
	})
}

// Two sites whose network is a plugin's on both sides. Do messages and deletes cross, and is nothing lost or doubled when it is killed?
func TestSitesAreJoinedByATransportOfAPlugin(t *testing.T) {
	t.Parallel()
	m, alice, bob := pair(t)
	for _, s := range m.sites {
		s.node.config["plugins"] = list{pluginOf("own")}
		s.node.config["transports"] = object{"hub": object{"type": "own.nats", "url": m.nats.url()}}
	}
	killed := 0
	m.besiegeTimes(rounds(t)/4, func(*siege) { // fewer, for each start of a plugin waits for longer than the one before
		victim := []*site{alice, bob}[killed%2]
		killed++
		require.NoError(t, syscall.Kill(victim.node.plugin(t).PID, syscall.SIGKILL))
	})
}

// Is what a plugin has against its options said at their lines?
func TestOptionsOfAPluginAreCheckedAtTheirLines(t *testing.T) {
	dir := t.TempDir()
	plugin := filepath.Join(dir, "goplugin")
	build := exec.Command("go", "build", "-o", plugin, ".")
	build.Dir = "../../../plugins/examples/goplugin"
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	path := filepath.Join(dir, "weft.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`node: alice
plugins:
  - {name: sensor, command: [./goplugin]}
  - {name: gone, command: [./gone]}
transports: {hub: {type: nats, url: nats://127.0.0.1:4222}}
routes:
  - name: doors
    match: "doors/#"
    to: hub
    mode: broadcast
    stages:
      - {type: sensor.decode, unit: fahrenheit}
      - {type: sensor.decode, unit: kelvin}
      - {type: sensor.decode, units: kelvin}
      - sensor.encode
      - modem.send
`), 0o600))
	check := exec.Command(weftBin, "check", path)
	check.Dir = dir
	out, err = check.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, fmt.Sprintf("%s:16: routes[0].stages[4]: no plugin %q; known here: gone, sensor\n", path, "modem"), string(out))

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text[:len(text)-len("      - modem.send\n")], 0o600))
	out, err = exec.Command(weftBin, "check", path).CombinedOutput()
	require.Error(t, err)
	for _, want := range []string{
		":13: routes[0].stages[1].unit: unknown unit \"kelvin\"; write celsius or fahrenheit",
		":14: routes[0].stages[2].units: unknown key",
		":15: routes[0].stages[3]: unknown stage \"encode\"",
		":4: plugins[1].command: ",
	} {
		require.Contains(t, string(out), want)
	}
}

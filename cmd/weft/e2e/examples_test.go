package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// address is one that an example file names: where to listen, or with a scheme what to connect to.
var address = regexp.MustCompile(`(mqtt://|nats://|http://user:pwd@)?(?:127\.0\.0\.1|0\.0\.0\.0):\d+`)

// Every example file is run as it is, but for its addresses: those of servers become the addresses of running ones, and those to
// listen on are free ones. Does the node get ready, and stop in order?
func TestExampleFilesRun(t *testing.T) {
	paths, err := filepath.Glob("../../../configs/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		if strings.HasPrefix(name, "mesh_") { // a node of a mesh is not ready without the others
			continue
		}
		t.Run(name, func(t *testing.T) {
			broker, server := newBroker(t, name), newNATS(t)
			broker.start()
			server.start()
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			_, daemons := flock(t, oneBox)
			config := address.ReplaceAllStringFunc(string(text), func(found string) string {
				switch {
				case strings.HasPrefix(found, "mqtt://"):
					return broker.url()
				case strings.HasPrefix(found, "nats://"):
					return server.url()
				case strings.HasPrefix(found, "http://"):
					return strings.TrimSuffix(daemons["mqtt_alice"].URL(), "/")
				}
				return freeAddr(t)
			})
			if !strings.Contains(config, "\nadmin:") { // it listens at its default
				config += "admin: {listen: \"" + freeAddr(t) + "\"}\n"
			}
			dir := t.TempDir()
			n := &node{file: filepath.Join(dir, "weft.yaml")}
			n.admin = regexp.MustCompile(`(?m)^admin: *\{listen: "?([0-9.:]+)`).FindStringSubmatch(config)[1]
			require.NoError(t, os.WriteFile(n.file, []byte(config), 0o600))
			n.program = newProgram(t, dir, name, weftBin, "run", "-c", n.file)
			n.program.start()
			awaitListening(t, n.program, n.admin)
			n.awaitReady()
			require.Equal(t, 0, n.stop())
			require.NotRegexp(t, "level=ERROR", n.output())
			_, err = net.Dial("tcp", n.admin)
			require.Error(t, err, "it has stopped")
		})
	}
}

// The two files of a mesh are run as they are, but for the brokers' addresses, the keys, which `weft id` prints, and where they find
// each other: on this machine alone. Does what one publishes arrive at the other?
func TestExampleFilesOfTheMeshRun(t *testing.T) {
	nodes, brokers, configs := map[string]*node{}, map[string]*broker{}, map[string]string{}
	id := func(n *node, args ...string) string {
		out, err := exec.Command(weftBin, append([]string{"id", "-c", n.file}, args...)...).Output()
		require.NoError(t, err)
		return string(out)
	}
	names := []string{"mesh_alice", "mesh_bob"}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("../../../configs", name+".yaml"))
		require.NoError(t, err)
		b, n := newBroker(t, name), newNode(t, name)
		b.start()
		configs[name] = address.ReplaceAllString(string(text), b.url()) + "admin: {listen: \"" + n.admin + "\"}\n"
		_, port, err := net.SplitHostPort(freeAddr(t))
		require.NoError(t, err)
		listen := "listen: [/ip4/127.0.0.1/tcp/" + port + "]"
		configs[name] = strings.NewReplacer("{type: kademlia", "{type: kademlia, "+listen, "type: kademlia\n", "type: kademlia\n    "+listen+"\n").Replace(configs[name])
		require.NoError(t, os.WriteFile(n.file, []byte(configs[name]), 0o600))
		nodes[name], brokers[name] = n, b
	}
	for i, name := range names {
		other, n := nodes[names[1-i]], nodes[name]
		entry, _, _ := strings.Cut(id(other), "\n")
		config := regexp.MustCompile(`\{name: mesh_\w+, key: .*\}`).ReplaceAllString(configs[name], entry)
		require.Contains(t, config, entry)
		config = strings.Replace(config, "bootstrap: []", "bootstrap: ["+strings.TrimSpace(id(other, "--addresses"))+"]", 1)
		require.NoError(t, os.WriteFile(n.file, []byte(config), 0o600))
		n.program.start()
		awaitListening(t, n.program, n.admin)
	}
	for _, name := range names {
		nodes[name].awaitReady()
	}
	nodes["mesh_alice"].awaitWishes("mesh_bob", "doors/#", "alarms/#")
	r := newRecord(t, brokers["mesh_bob"].addr, "doors/#", 1)
	l := newLoad(t, brokers["mesh_alice"].addr, "doors", 1)
	require.NoError(t, l.publish(t.Context(), 10))
	r.awaitAll(t, l, 20*time.Second)
	for _, name := range names {
		require.Equal(t, 0, nodes[name].stop())
		require.NotRegexp(t, "level=ERROR", nodes[name].output())
	}
}

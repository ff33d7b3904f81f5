package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/twistertest"
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
		t.Run(name, func(t *testing.T) {
			broker, server := newBroker(t, name), newNATS(t)
			broker.start()
			server.start()
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			twister := simulateTwister(t, oneBox, twistertest.Options{}) // for the users that the files name
			config := address.ReplaceAllStringFunc(string(text), func(found string) string {
				switch {
				case strings.HasPrefix(found, "mqtt://"):
					return broker.url()
				case strings.HasPrefix(found, "nats://"):
					return server.url()
				case strings.HasPrefix(found, "http://"):
					return strings.TrimSuffix(twister.daemons["alice"].URL(), "/")
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

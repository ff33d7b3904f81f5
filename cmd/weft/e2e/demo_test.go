package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the demo prints to try from another terminal does what it says, messages cross from and to every site, and nothing is left.
func TestDemoShowsThreeSitesAndLeavesNothingBehind(t *testing.T) {
	for over, said := range map[string]string{"mesh": "a mesh of their relays, with no server", "nats": "a NATS server", "twister": "a SIMULATED Twister network"} {
		t.Run(over, func(t *testing.T) { demoShowsThreeSites(t, over, said) })
	}
}

func demoShowsThreeSites(t *testing.T, over, said string) {
	dir := t.TempDir()
	tmp := filepath.Join(dir, "tmp")
	require.NoError(t, os.Mkdir(tmp, 0o700))
	t.Setenv("TMPDIR", tmp)
	demo := newProgram(t, dir, "demo", weftBin, "demo", "--over", over)
	demo.start()
	printed := regexp.MustCompile(`(?m)^  \S+weft (sub|pub) --url (mqtt://\S+) -t (\S+) `)
	var commands [][]string
	eventually(t, 60*time.Second, func() error {
		if commands = printed.FindAllStringSubmatch(demo.output(), -1); len(commands) != 3 {
			return fmt.Errorf("%d commands printed", len(commands))
		}
		return nil
	})
	require.Regexp(t, `^Starting three sites, .* joined by `+said, demo.output())
	require.NotContains(t, demo.output(), "level=", "a library has logged") // or Weft, whose log the view stands for
	sub := func(name string, command []string) *program {
		p := newProgram(t, dir, name, weftBin, "sub", "--url", command[2], "-t", strings.Trim(command[3], "'"), "-v", "-C", "1", "-W", "20s")
		p.start()
		return p
	}
	watch := sub("watch", commands[0])
	eventually(t, 20*time.Second, func() error { // the first may come before the watcher has subscribed
		hello := newProgram(t, dir, "hello", weftBin, "pub", "--url", commands[1][2], "-t", commands[1][3], "-m", "hello from alice")
		hello.start()
		require.Zero(t, hello.exit(20*time.Second))
		if !strings.Contains(watch.output(), "hello/bob hello from alice") {
			return fmt.Errorf("bob's broker has %q", watch.output())
		}
		return nil
	})
	carol := commands[2]
	for topic, want := range map[string]string{carol[3]: `^doors/front (open|closed)\n`, "alarms/#": `^alarms/test drill \d+\n`} { // retained, and a broadcast
		got := sub("carol", []string{2: carol[2], 3: topic})
		require.Zero(t, got.exit(30*time.Second))
		require.Regexp(t, want, got.output())
		require.NoError(t, os.Remove(got.log))
	}
	crossed := regexp.MustCompile(`alice: \d+/s, [1-9]\d* from peers.*bob: \d+/s, [1-9]\d* from peers.*carol: \d+/s, [1-9]\d* from peers`)
	eventually(t, 20*time.Second, func() error {
		if !crossed.MatchString(demo.output()) {
			return fmt.Errorf("no line shows messages at every site")
		}
		return nil
	})
	require.Zero(t, demo.stop())
	requireEmpty(t, tmp)
}

// Does the demo end at once, without an error and without leftovers, while it is still starting?
func TestDemoEndsWhileItStarts(t *testing.T) {
	for _, wait := range []string{"1ms", "100ms", "400ms"} {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		out, err := exec.Command(weftBin, "demo", "--duration", wait).CombinedOutput()
		require.NoError(t, err, "%s: %s", wait, out)
		requireEmpty(t, dir)
	}
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

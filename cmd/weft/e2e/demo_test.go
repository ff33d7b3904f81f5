package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the demo prints to try from another terminal does what it says, messages cross in both directions, and nothing is left.
func TestDemoShowsTwoSitesAndLeavesNothingBehind(t *testing.T) {
	for _, over := range []string{"nats", "twister"} {
		t.Run(over, func(t *testing.T) { demoShowsTwoSites(t, over) })
	}
}

func demoShowsTwoSites(t *testing.T, over string) {
	dir := t.TempDir()
	tmp := filepath.Join(dir, "tmp")
	require.NoError(t, os.Mkdir(tmp, 0o700))
	t.Setenv("TMPDIR", tmp)
	demo := newProgram(t, dir, "demo", weftBin, "demo", "--over", over)
	demo.start()
	printed := regexp.MustCompile(`(?m)^  \S+weft (sub|pub) --url (mqtt://\S+) -t (\S+) `)
	var commands [][]string
	eventually(t, 60*time.Second, func() error {
		if commands = printed.FindAllStringSubmatch(demo.output(), -1); len(commands) != 2 {
			return fmt.Errorf("%d commands printed", len(commands))
		}
		return nil
	})
	watch := newProgram(t, dir, "watch", weftBin, "sub", "--url", commands[0][2], "-t", strings.Trim(commands[0][3], "'"), "-v", "-C", "1", "-W", "20s")
	watch.start()
	eventually(t, 20*time.Second, func() error { // the first may come before the watcher has subscribed
		hello := newProgram(t, dir, "hello", weftBin, "pub", "--url", commands[1][2], "-t", commands[1][3], "-m", "hello from alice")
		hello.start()
		require.Zero(t, hello.exit(20*time.Second))
		if !strings.Contains(watch.output(), "hello/bob hello from alice") {
			return fmt.Errorf("bob's broker has %q", watch.output())
		}
		return nil
	})
	crossed := regexp.MustCompile(`alice: \d+/s, [1-9]\d* from peers.*bob: \d+/s, [1-9]\d* from peers`)
	eventually(t, 20*time.Second, func() error {
		if !crossed.MatchString(demo.output()) {
			return fmt.Errorf("no line shows messages crossing both ways")
		}
		return nil
	})
	require.Zero(t, demo.stop())
	left, err := os.ReadDir(tmp)
	require.NoError(t, err)
	require.Empty(t, left)
}

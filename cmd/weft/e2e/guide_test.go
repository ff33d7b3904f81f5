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

// guideBlocks are the blocks of the guide that have a part in its walk: what they are, and what is in them. "sh guide" is typed into the
// shell, "text" is among what is printed, and any other names the file that it is.
var guideBlocks = regexp.MustCompile("(?s)```(sh guide|text|go [a-z/_]+\\.go)\n(.*?)```")

// The guide for authors of plugins is followed as it is written, in an empty folder. Only its port numbers are exchanged for free ones, the
// checkout is this one, and its binary is the one under test. Are the plugins that come of it what it says?
func TestGuideMakesAStageAndATransport(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/plugins.md")
	require.NoError(t, err)
	checkout, err := filepath.Abs("../../..")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	require.NoError(t, os.Symlink(weftBin, filepath.Join(dir, "bin", "weft")))
	modules := nodeModules(t, checkout)

	var script strings.Builder
	var wants []string
	for _, block := range guideBlocks.FindAllStringSubmatch(string(text), -1) {
		kind := block[1]
		name, isFile := strings.CutPrefix(kind, "go ")
		switch {
		case isFile:
			fmt.Fprintf(&script, "mkdir -p $(dirname %[1]s)\ncat > %[1]s <<'END_OF_FILE'\n%[2]sEND_OF_FILE\n", name, block[2])
		case kind == "text":
			wants = append(wants, strings.Split(strings.TrimSpace(block[2]), "\n")...)
		default:
			script.WriteString(block[2])
		}
	}
	walk := script.String()
	exchange := func(old, with string) {
		require.Contains(t, walk, old)
		walk = strings.ReplaceAll(walk, old, with)
	}
	exchange("WEFT=~/weft ", "WEFT="+checkout+" ")
	exchange("make -C $WEFT build\n", "")
	exchange("go mod init example.com/site\n", "go mod init example.com/site\ncp $WEFT/go.sum .\n") // no checksum is asked of the network
	exchange("PATH=$WEFT/bin:$PATH\n", "PATH=$PWD/bin:$PATH\n")
	exchange("(cd nodeplugin && npm ci)", "rm -rf nodeplugin/node_modules && ln -s "+modules+" nodeplugin/node_modules")
	for _, port := range []string{"21883", "22883", "24222", "29883", "29884"} {
		exchange(port, strings.TrimPrefix(freeAddr(t), "127.0.0.1:"))
	}

	// As make build has it, whose cache the builds share.
	printed := runWalk(t, dir, walk, []string{"CGO_ENABLED=0", "GOFLAGS=-trimpath"}, 5*time.Minute)
	for _, want := range append(wants,
		"ok  \texample.com/site/deadband", "ok  \texample.com/site/folder", "alice.yaml: ok", "bob.yaml: ok",
		"stage deadband, example.com/site/deadband",
	) {
		require.Contains(t, printed, want)
	}
	for _, unwanted := range []string{"warning", "sensors/hall 21.2", "sensors/attic 30.2", "panic"} {
		require.NotContains(t, printed, unwanted)
	}
}

// nodeModules installs what the plugin in JavaScript needs, and returns the folder.
func nodeModules(t *testing.T, checkout string) string {
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(filepath.Join(checkout, "plugins/examples/nodeplugin", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	out, err := install.CombinedOutput()
	require.NoError(t, err, "%s\nthis test needs node and npm; .ci/tools installs them", out)
	return filepath.Join(dir, "node_modules")
}

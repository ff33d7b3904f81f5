package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// joinBlocks are the shell commands of the README's walk through two Mosquittos, in order.
var joinBlocks = regexp.MustCompile("(?s)```sh join\n(.*?)```")

// The walk in the README is run as it is written. Only its port numbers are exchanged for free ones, and the binary is the one
// under test instead of one built anew.
func TestReadmeJoinsTwoMosquittos(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	var script strings.Builder
	for _, block := range joinBlocks.FindAllStringSubmatch(string(text), -1) {
		script.WriteString(block[1])
	}
	walk := strings.Replace(script.String(), "make build\n", "", 1)
	for _, port := range []string{"21883", "22883", "24222", "29883", "29884"} {
		require.Contains(t, walk, port)
		walk = strings.ReplaceAll(walk, port, strings.TrimPrefix(freeAddr(t), "127.0.0.1:"))
	}
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	require.NoError(t, os.Symlink(weftBin, filepath.Join(dir, "bin", "weft")))

	cmd := exec.Command("bash", "-ec", walk+"\nkill $(jobs -p)\nwait\n")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out := filepath.Join(dir, "out")
	file, err := os.Create(out)
	require.NoError(t, err)
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the walk does not end")
	}
	printed, err := os.ReadFile(out)
	require.NoError(t, err)
	for _, want := range []string{"alice.yaml: ok", "bob.yaml: ok", "doors/1 open", "doors/1 closed", "lane doors/bob", "wants doors/#"} {
		require.Contains(t, string(printed), want)
	}
}

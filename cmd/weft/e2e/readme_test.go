package e2e_test

import (
	"errors"
	"fmt"
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

// joinBlocks are the shell commands of the README's walk through two sites with no server, in order.
var joinBlocks = regexp.MustCompile("(?s)```sh join\n(.*?)```")

// The walk in the README is run as it is written. Only its port numbers are exchanged for free ones, and the binary is the one
// under test instead of one built anew.
func TestReadmeJoinsTwoSitesWithNoServer(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	var script strings.Builder
	for _, block := range joinBlocks.FindAllStringSubmatch(string(text), -1) {
		script.WriteString(block[1])
	}
	walk := strings.Replace(script.String(), "make build\n", "", 1)
	for _, port := range []string{"21883", "22883", "24001", "24002", "29883", "29884"} {
		require.Contains(t, walk, port)
		walk = strings.ReplaceAll(walk, port, strings.TrimPrefix(freeAddr(t), "127.0.0.1:"))
	}
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	require.NoError(t, os.Symlink(weftBin, filepath.Join(dir, "bin", "weft")))

	printed := runWalk(t, dir, walk, nil, time.Minute)
	for _, want := range []string{
		"alice/weft.yaml: ok", "bob/weft.yaml: ok", "doors/1 open", "doors/1 closed", "alarms/1 fire", "lane doors/bob", "wants alarms/#, doors/#", "direct TCP",
	} {
		require.Contains(t, printed, want)
	}
	require.NotContains(t, printed, "warning")
}

// runWalk runs shell commands that a page tells its reader to type, ends what they have left running, and returns all that was printed.
func runWalk(t *testing.T, dir, walk string, env []string, within time.Duration) string {
	t.Helper()
	cmd := exec.Command("bash", "-ec", walk+"\nkill $(jobs -p) || true\nwait\n")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out := filepath.Join(t.TempDir(), "out")
	file, err := os.Create(out)
	require.NoError(t, err)
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(within):
		err = errors.New("the walk does not end")
	}
	printed, readErr := os.ReadFile(out)
	require.NoError(t, readErr)
	require.NoError(t, err, "%s", printed)
	return string(printed)
}

// The two machines that the README joins over NATS are two folders here, and scp is cp. Do the nodes find each other over TLS, with the
// token and without a warning?
func TestReadmeJoinsTwoMachinesOverNATS(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	hub, dir := strings.TrimPrefix(freeAddr(t), "127.0.0.1:"), t.TempDir()
	files, lines := map[string]string{}, map[string]string{}
	for _, name := range []string{"alice", "bob"} {
		block := regexp.MustCompile("(?s)```sh " + name + "\n(.*?)```").FindSubmatch(text)
		require.NotNil(t, block, name)
		script := strings.NewReplacer(
			"192.0.2.10", "127.0.0.1", "4222", hub, "1883", strings.TrimPrefix(freeAddr(t), "127.0.0.1:"),
			"scp $ALICE:hub.pem $ALICE:hub.token .", "cp ../alice/hub.pem ../alice/hub.token .",
		).Replace(string(block[1]))
		site := filepath.Join(dir, name)
		require.NoError(t, os.Mkdir(site, 0o755))
		cmd := exec.Command("bash", "-ec", `weft() { "$WEFT" "$@"; }`+"\n"+script)
		cmd.Dir, cmd.Env = site, append(os.Environ(), "WEFT="+weftBin)
		out, err := cmd.Output()
		require.NoError(t, err, "%s: %s", script, out)
		files[name], lines[name] = filepath.Join(site, name+".yaml"), strings.TrimSpace(string(out))
	}
	for name, other := range map[string]string{"alice": "bob", "bob": "alice"} {
		config, err := os.ReadFile(files[name])
		require.NoError(t, err)
		require.Contains(t, string(config), "peers: [] ")
		full := strings.Replace(string(config), "peers: [] ", "peers: ["+lines[other]+"] ", 1) + "admin: {listen: '" + freeAddr(t) + "'}\n"
		require.NoError(t, os.WriteFile(files[name], []byte(full), 0o600))
	}
	out, err := exec.Command(weftBin, "check", files["alice"], files["bob"]).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), "warning")
	for name, file := range files {
		newProgram(t, filepath.Dir(file), name, weftBin, "run", "-c", file).start()
	}
	for name, want := range map[string]string{"alice": "wants doors/#", "bob": "wants fridges/#"} {
		eventually(t, 20*time.Second, func() error {
			out, _ := exec.Command(weftBin, "status", "-c", files[name]).CombinedOutput() // there is no broker: status 1
			if !strings.Contains(string(out), want) {
				return fmt.Errorf("%s does not say %q: %s", name, want, out)
			}
			return nil
		})
	}
}

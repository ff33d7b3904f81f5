package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tryPlugin runs the kit on a program, in a folder, and returns its verdict and the exit status.
func tryPlugin(t *testing.T, dir string, args ...string) (verdict string, status int) {
	t.Helper()
	cmd := exec.Command(weftBin, append([]string{"plugins", "test", "--timeout", "1m"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NotNil(t, cmd.ProcessState, err)
	return string(out), cmd.ProcessState.ExitCode()
}

// Do the examples keep the rules of plugins?
func TestKitPassesTheExamples(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "goplugin")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Dir = "../../../plugins/examples/goplugin"
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	verdict, status := tryPlugin(t, "", "--stage", "decode", "--options", `{"unit": "fahrenheit"}`, "--", bin)
	require.Zero(t, status, verdict)
	require.Contains(t, verdict, "stage decode\n  ok    OptionsAreTaken\n")
	require.Contains(t, verdict, "\n27 ok, 0 failed, 2 not checked\n")

	const dir = "../../../plugins/examples/nodeplugin"
	if _, err := os.Stat(filepath.Join(dir, "node_modules/.package-lock.json")); err != nil {
		install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		install.Dir = dir
		out, err := install.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	verdict, status = tryPlugin(t, dir, "--message", `doors/1={"open": true}`, "--", "node", "plugin.js")
	require.Zero(t, status, verdict)
	require.Contains(t, verdict, "\n27 ok, 0 failed, 2 not checked\n")
}

// Are frames sent between as many nodes of a transport as there are options for, and is it said what was not looked at?
func TestKitSendsFramesOverATransport(t *testing.T) {
	m, _, _ := pair(t)
	m.nats.start()
	hub := fmt.Sprintf(`{"url": %q}`, m.nats.url())
	args := []string{"--transport", "nats", "--stores", "--deduplicates"}
	for range 5 {
		args = append(args, "--options", hub)
	}
	verdict, status := tryPlugin(t, "", append(args, "--", os.Args[0])...)
	require.Zero(t, status, verdict)
	for _, want := range []string{"ReportTellsTheState", "FramesArriveInOrder", "AbsentReceiverGetsFramesLater", "BroadcastReachesFollowersOnly", "DirectoryShowsLatestProfiles", "TooLargeIsPermanent"} {
		require.Contains(t, verdict, "  ok    "+want+"\n")
	}
	require.Contains(t, verdict, "  --    NothingIsLostWhenNetworkRestarts: not checked: this takes a network that the kit can take away;")
	require.Contains(t, verdict, "  --    SenderIsNamed: not checked: the network authenticates no names")

	verdict, status = tryPlugin(t, "", "--transport", "nats", "--options", hub, "--options", hub, "--", os.Args[0])
	require.Zero(t, status, verdict)
	require.Contains(t, verdict, "  --    ManyOriginsKeepTheirOrders: not checked: this takes more nodes than the 2 of which there are options;")
	require.Contains(t, verdict, "  --    AbsentReceiverGetsFramesLater: not checked: this is for a network that keeps frames")

	// With no network, what one program shows alone.
	verdict, status = tryPlugin(t, "", "--transport", "nats", "--options", `{"url": "nats://127.0.0.1:1"}`, "--", os.Args[0])
	require.Zero(t, status, verdict)
	require.Contains(t, verdict, "  ok    ClosedHandleIsNotFound\n")
	require.Contains(t, verdict, "  --    frames between two nodes: not checked: that takes the options of two nodes")
	require.Equal(t, 1, strings.Count(verdict, "frames"), verdict)
}

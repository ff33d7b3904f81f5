package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// serveTwisterds has the test binary serve simulated daemons instead of testing: twisterds elsewhere, as far as another process can tell.
const serveTwisterds = "WEFT_TEST_TWISTERDS"

// runTwisterds prints user and address of each daemon as the environment gives real ones, and serves them until its input ends.
func runTwisterds() (status int) {
	if err := printTwisterds(os.Stdout, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "twisterds:", err)
		return 1
	}
	return 0
}

func printTwisterds(out io.Writer, in io.Reader) error {
	network, err := twistertest.New(twistertest.Options{Speed: twistertest.WarmSpeed()})
	if err != nil {
		return err
	}
	defer network.Close()
	for _, at := range []struct{ variable, user, box string }{
		{"WEFT_TWISTERD_A", "weft_a", "a"},
		{"WEFT_TWISTERD_B", "weft_b", "b"},
		{"WEFT_TWISTERD_C", "weft_c", "c"},
		{"WEFT_TWISTERD_B", "weft_beside_a", "a"}, // a second user of one wallet
	} {
		d, err := network.Daemon(at.box)
		if err == nil {
			err = d.Register(at.user)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s=%s/%s\n", at.variable, d.URL(), at.user)
	}
	network.Mine(50_000)
	fmt.Fprintln(out)
	_, err = io.Copy(io.Discard, in)
	return err
}

// startTwisterds starts daemons in a process of their own, and returns how the environment names them.
func startTwisterds(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), serveTwisterds+"=1"), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { in.Close(); require.NoError(t, cmd.Wait()) })
	var named []string
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != ""; {
		named = append(named, lines.Text())
	}
	require.Len(t, named, 4)
	return named
}

// outcome is how the log of a test run tells what became of a test, and before that why it was skipped.
var outcome = regexp.MustCompile(`(?m)^ *--- (PASS|SKIP|FAIL): (\S+)`)

// Somebody has real daemons, which keep what earlier tests have sent, and names them in the environment. Are the same tests run over
// them, and those that need the simulation skipped with a reason? These daemons are simulated as well, and in another process.
func TestConfiguredTwisterdsAreTestedOver(t *testing.T) {
	if hasRealTwisterds() || os.Getenv(builtPrograms) != "" { // in a run within this test it would go on for ever
		t.Skip("the environment names daemons already")
	}
	t.Parallel()
	daemons := startTwisterds(t)
	for _, run := range []struct {
		name    string
		daemons []string
		tests   string
		want    map[string]string
		says    []string
		posted  []string // variables
	}{
		{
			"three boxes", daemons[:3], "Twister",
			map[string]string{
				"TestDoorsAndFridgesCrossOverTwister/two_boxes":            "PASS",
				"TestDoorsAndFridgesCrossOverTwister/one_box":              "SKIP",
				"TestNothingIsLostOrDoubledOverTwister":                    "PASS",
				"TestNothingIsLostOrDoubledWhenTwisterIsSlowAndLossy":      "SKIP",
				"TestSeedsBridgeIsUnderstoodBothWaysOverTwister/from_Weft": "PASS",
				"TestSeedsBridgeIsUnderstoodBothWaysOverTwister/to_Weft":   "PASS",
				"TestFollowersHaveEveryBroadcastOverTwister":               "PASS",
				"TestReadableBroadcastIsTextOverTwister":                   "PASS",
				"TestOnlyMessagesOfPeersAreTakenFromTwister":               "SKIP",
				"TestConfiguredTwisterdsAreTestedOver":                     "SKIP",
			},
			[]string{"names real ones: it loses posts, and kills daemons", "needs users of one daemon"},
			[]string{"WEFT_TWISTERD_A", "WEFT_TWISTERD_B"},
		},
		{
			"one box",
			[]string{daemons[0], daemons[3]},
			"DoorsAndFridgesCrossOverTwister|FollowersHaveEvery",
			map[string]string{
				"TestDoorsAndFridgesCrossOverTwister/one_box":   "PASS",
				"TestDoorsAndFridgesCrossOverTwister/two_boxes": "SKIP",
				"TestFollowersHaveEveryBroadcastOverTwister":    "SKIP",
			},
			[]string{"needs 2 daemons: there are 1", "needs a user for carol: set WEFT_TWISTERD_C"},
			[]string{"WEFT_TWISTERD_B"},
		},
	} {
		t.Run(run.name, func(t *testing.T) {
			before := postsOf(t, run.daemons)
			cmd := exec.Command(os.Args[0], "-test.v", "-test.timeout=5m", "-test.run="+run.tests)
			cmd.Env = append(os.Environ(), builtPrograms+"="+filepath.Dir(weftBin), "WEFT_SOAK_ROUNDS=8")
			cmd.Env = append(cmd.Env, run.daemons...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			for test, want := range run.want {
				require.Equal(t, want, outcomes(out)[test], "%s\n%s", test, out)
			}
			for _, reason := range run.says {
				require.Contains(t, string(out), reason)
			}
			after := postsOf(t, run.daemons)
			for _, variable := range run.posted {
				require.Greater(t, after[variable], before[variable], "posts of %s\n%s", variable, out)
			}
		})
	}
}

func outcomes(log []byte) map[string]string {
	of := map[string]string{}
	for _, found := range outcome.FindAllSubmatch(log, -1) {
		of[string(found[2])] = string(found[1])
	}
	return of
}

// postsOf returns the k of the last post of each user, by variable.
func postsOf(t *testing.T, daemons []string) map[string]int {
	t.Helper()
	posts := map[string]int{}
	for _, line := range daemons {
		variable, value, _ := strings.Cut(line, "=")
		address, name, err := parseTwisterd(value)
		require.NoError(t, err)
		posts[variable] = newTwisterUser(t, name, address).nextK(t)
	}
	return posts
}

func TestTwisterdIsNamedWithItsUserAndItsPasswordIsNeverShown(t *testing.T) {
	address, user, err := parseTwisterd("http://rpc:s3cret@192.0.2.7:28332/mqtt_alice")
	require.NoError(t, err)
	require.Equal(t, "http://rpc:s3cret@192.0.2.7:28332 mqtt_alice", address+" "+user)
	for _, wrong := range []string{
		"http://rpc:s3cret@192.0.2.7:28332", "http://rpc:s3cret@192.0.2.7:28332/", "http://rpc:s3cret@192.0.2.7:28332/a/b",
		"http://rpc:s3cret@192.0.2.7:28332/Alice", "http://192.0.2.7:28332/s3cret!", "192.0.2.7:s3cret", "http://rpc:s3cret@:x/a", "ftp://rpc:s3cret@h/a",
	} {
		_, _, err := parseTwisterd(wrong)
		require.Error(t, err, wrong)
		if !strings.HasSuffix(wrong, "!") { // that is a user's name
			require.NotContains(t, err.Error(), "s3cret")
		}
	}
	_, _, err = parseTwisterd("http://192.0.2.7:28332/mqtt_alice")
	require.ErrorContains(t, err, "no user and password")
}

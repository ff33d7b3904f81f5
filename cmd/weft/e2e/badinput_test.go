package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/transports"
)

// A node whose broker is not there, or does not let it in, says so in plain words and goes on trying.
func TestBrokerThatIsAwayOrRefusesIsReportedAndTriedAgain(t *testing.T) {
	m := newMesh(t, []string{"alice"})
	alice := m.sites[0]
	passwords := filepath.Join(t.TempDir(), "passwords")
	out, err := exec.Command("mosquitto_passwd", "-b", "-c", passwords, "relay", "right").CombinedOutput()
	require.NoError(t, err, "mosquitto_passwd: %s", out)
	alice.broker = newBroker(t, "alice", "allow_anonymous false", "password_file "+passwords)
	alice.node.config["broker"] = object{"url": alice.broker.url(), "username": "relay", "password": "wrong", "reconnect_max": "1s"}
	m.introduce()
	m.nats.start()
	alice.node.start()
	says := func(words string) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			_, body, err := alice.node.get("/readyz")
			if err == nil && !strings.Contains(body, words) {
				err = fmt.Errorf("/readyz says %q, not %q", body, words)
			}
			return err
		})
		s, err := alice.node.status()
		require.NoError(t, err)
		require.Equal(t, transports.Connecting, s.Broker.State)
	}
	says("connection refused")
	alice.broker.start()
	says("bad user name or password")
	alice.node.config["broker"].(object)["password"] = "right"
	alice.node.reload()
	alice.node.awaitReady()
	require.NotContains(t, alice.node.output(), "wrong", "the password is in the log")
}

// The disk is full. Does the broker keep what the node cannot, does the node go on and say what is wrong, and is nothing lost
// when there is room again?
func TestFullDiskLosesNothing(t *testing.T) {
	m, alice, r, l := fullDisk(t)
	code, _, err := alice.node.get("/healthz")
	require.NoError(t, err)
	require.Equal(t, 200, code)
	code, body, err := alice.node.get("/readyz")
	require.NoError(t, err)
	require.Equal(t, 503, code)
	require.Regexp(t, "messages from the broker cannot be stored, the broker keeps them: .*; make room on that disk, and it goes on by itself", body)
	_, body, err = alice.node.get("/metrics")
	require.NoError(t, err)
	require.Contains(t, body, "\nweft_storing 0\n")
	m.nats.start()
	limit(t, alice.node, unix.RLIM_INFINITY)
	r.awaitAll(t, l, 60*time.Second)
	r.requireOrder(t)
	alice.node.awaitReady()
}

// The same, and the node is killed while the disk is full: has it told its broker of no message that it had it, before it had?
func TestFullDiskAndAKillLoseNothing(t *testing.T) {
	m, alice, r, l := fullDisk(t)
	alice.node.kill()
	m.nats.start()
	alice.node.start()
	r.awaitAll(t, l, 60*time.Second)
	r.requireOrder(t)
}

// fullDisk publishes more than the disk of alice holds, while the network is down so that it has to be kept.
func fullDisk(t *testing.T) (m *mesh, alice *site, r *record, l *load) {
	t.Helper()
	m, alice, bob := pair(t)
	m.start()
	r = newRecord(t, bob.broker.addr, "#", 1)
	m.nats.kill()
	limit(t, alice.node, largest(t, alice.node)+64<<10)
	l = newLoad(t, alice.broker.addr, "q1", 1)
	l.pad = strings.Repeat("x", 1000)
	require.NoError(t, l.publish(t.Context(), 1000))
	eventually(t, 20*time.Second, func() error {
		if !strings.Contains(alice.node.output(), "messages cannot be stored, the broker keeps them") {
			return fmt.Errorf("the node does not complain")
		}
		return nil
	})
	return m, alice, r, l
}

// limit bounds the size of every file that the running node writes. Beyond it a write fails as it does on a full disk.
func limit(t *testing.T, n *node, bytes uint64) {
	t.Helper()
	require.NoError(t, unix.Prlimit(n.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil))
}

func largest(t *testing.T, n *node) uint64 {
	t.Helper()
	return uint64(size(t, largestSegment(t, n)))
}

func TestDataDirThatCannotBeWrittenIsAClearError(t *testing.T) {
	n := newNode(t, "alice")
	dir := filepath.Dir(n.file)
	n.write()
	require.NoError(t, os.Chmod(n.file, 0o644))
	require.NoError(t, os.Mkdir(n.dataDir(), 0o555))
	p := newProgram(t, t.TempDir(), "unprivileged", weftBin, "run", "-c", n.file)
	if os.Geteuid() == 0 { // root may write everywhere
		p.user = 65534
		for _, d := range []string{dir, filepath.Dir(dir), filepath.Dir(weftBin)} {
			require.NoError(t, os.Chmod(d, 0o755))
		}
	}
	p.start()
	require.Equal(t, 1, p.exit(20*time.Second))
	require.Contains(t, p.output(), n.dataDir())
	require.Contains(t, p.output(), "permission denied")
}

func TestSecondProcessOnTheSameDataDirIsRefused(t *testing.T) {
	m, alice, _ := pair(t)
	m.start()
	second := newNode(t, "alice")
	second.config["data_dir"] = alice.node.dataDir()
	second.write()
	second.program.start()
	require.Equal(t, 1, second.exit(20*time.Second))
	require.Contains(t, second.output(), "in use by another weft process")
	require.Contains(t, second.output(), fmt.Sprint(alice.node.cmd.Process.Pid))
	alice.node.awaitReady()
}

// deadLetter is what the tests look at of a message on $weft/dead.
type deadLetter struct {
	Reason, Lane, Topic string
	Bytes               int
	Payload             []byte
}

// A payload that no network takes, small or huge: is it put aside with its reason, and does the lane go on?
func TestMessageTooLargeIsPutAsideAndTheLaneGoesOn(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	dead := alice.broker.sub("-t", "$weft/dead", "-F", "%p")
	sub := bob.broker.sub("-t", "#", "-q", "1", "-F", "%t %l")
	for _, size := range []int64{2 << 20, 200 << 20} {
		file := filepath.Join(t.TempDir(), "payload")
		noise(t, file, size)
		alice.broker.pub("-t", "big", "-q", "1", "-f", file)
		alice.broker.pub("-t", "small", "-q", "1", "-m", fmt.Sprint(size))
	}
	eventuallyHas(t, sub, "small 9")
	require.Equal(t, []string{"small 7", "small 9"}, messages(sub))
	eventually(t, 30*time.Second, func() error {
		if n := len(messages(dead)); n != 2 {
			return fmt.Errorf("%d dead letters, not 2", n)
		}
		return nil
	})
	var sizes []int
	for _, line := range messages(dead) {
		var letter deadLetter
		require.NoError(t, json.Unmarshal([]byte(line), &letter))
		require.Equal(t, "big", letter.Topic)
		require.Equal(t, "all/bob", letter.Lane)
		require.NotEmpty(t, letter.Reason)
		require.Empty(t, letter.Payload, "a large payload is not repeated")
		sizes = append(sizes, letter.Bytes)
	}
	require.Equal(t, []int{2 << 20, 200 << 20}, sizes)
	require.Less(t, peakMemory(t, alice.node), int64(4*200<<20), "memory for a payload of 200 MiB")
	alice.node.await(5*time.Second, func(s pipeline.Status) error {
		l := lane(t, s, "all/bob")
		requireBalance(t, l)
		if l.Dropped["undeliverable"] != 2 || s.Outgoing.DeadLetters != 2 {
			return fmt.Errorf("%v dropped, %d dead letters", l.Dropped, s.Outgoing.DeadLetters)
		}
		return nil
	})
}

// peakMemory returns the most bytes that the node has had resident since its start.
func peakMemory(t *testing.T, n *node) (bytes int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscanf(after, "%d kB", &bytes)
	require.NoError(t, err)
	return bytes << 10
}

// The built-in broker listens on all addresses, has users, and a user name stands beside it that is none of them. Is the node's own
// session let in?
func TestNodeReachesItsBuiltInBrokerWhateverItListensOn(t *testing.T) {
	_, port, err := net.SplitHostPort(freeAddr(t))
	require.NoError(t, err)
	n := newNode(t, "alice")
	n.config["broker"] = object{
		"embedded": object{"listen": ":" + port, "users": list{object{"name": "sensor", "password": "s"}}},
		"username": "somebody", "password": "else",
	}
	n.start()
	n.await(10*time.Second, func(s pipeline.Status) error {
		if s.Broker.State != transports.Up {
			return fmt.Errorf("broker is %s: %s", s.Broker.State, s.Broker.Detail)
		}
		return nil
	})
}

// noise fills a file with what cannot be compressed.
func noise(t *testing.T, file string, size int64) {
	t.Helper()
	source, err := os.Open("/dev/urandom")
	require.NoError(t, err)
	defer source.Close()
	f, err := os.Create(file)
	require.NoError(t, err)
	defer f.Close()
	_, err = io.CopyN(f, source, size)
	require.NoError(t, err)
}

// Bob's owner has pasted a wrong key of alice. Do both nodes say that the keys differ, and what the right line is?
func TestWrongKeyOfAPeerIsNamedAtBothSites(t *testing.T) {
	m, alice, bob := pair(t)
	m.introduce()
	other := identity.FormatKey(stranger(t).Public())
	bob.node.config["peers"] = list{object{"name": "alice", "key": other}}
	m.nats.start()
	right := map[string]string{}
	for _, s := range m.sites {
		right[s.name] = strings.TrimSpace(s.node.id())
		s.broker.start()
		s.node.start()
	}
	for _, tt := range []struct {
		at    *site
		words []string
	}{
		{alice, []string{"does not list this node, or lists it with another key", right["alice"], right["bob"]}},
		{bob, []string{"not signed with the key in the peers list, " + other, right["bob"], other}},
	} {
		eventually(t, 20*time.Second, func() error {
			out, err := exec.Command(weftBin, "status", "-c", tt.at.node.file).CombinedOutput()
			if err == nil {
				return fmt.Errorf("exit 0: %s", out)
			}
			for _, words := range tt.words {
				if !strings.Contains(string(out), words) {
					return fmt.Errorf("%q is not in %s", words, out)
				}
			}
			return nil
		})
	}
}

// Another name would be another identity, which no peer knows.
func TestReloadDoesNotChangeWhoTheNodeIs(t *testing.T) {
	m, alice, _ := pair(t)
	m.start()
	for key, words := range map[string]string{
		"node":     `: node: "mallory", but this process runs "alice"; stop it`,
		"data_dir": "mallory, but the identity and the lanes of this process are in " + alice.node.dataDir(),
	} {
		before := alice.node.config[key]
		alice.node.config[key] = "mallory"
		alice.node.reload()
		eventually(t, 10*time.Second, func() error {
			if !strings.Contains(strings.ReplaceAll(alice.node.output(), `\"`, `"`), words) {
				return fmt.Errorf("the log does not say %q", words)
			}
			return nil
		})
		alice.node.config[key] = before
	}
	require.Contains(t, alice.node.output(), "the node goes on as it was")
	require.NoDirExists(t, filepath.Join(filepath.Dir(alice.node.file), "mallory"))
	s, err := alice.node.status()
	require.NoError(t, err)
	require.Equal(t, "alice", s.Node)
	for _, args := range [][]string{{"status", "-c", alice.node.file}, {"status", "--address", alice.node.admin}} {
		out, err := exec.Command(weftBin, args...).CombinedOutput()
		require.Error(t, err, "status 1: a person has to act")
		require.Regexp(t, `problem +`+alice.node.file+` was not taken up at \S+ \S+: `+alice.node.file+`:\d+: `, string(out))
	}
	alice.node.reload()
	alice.node.await(10*time.Second, func(s pipeline.Status) error {
		if s.FileProblem != "" {
			return errors.New(s.FileProblem)
		}
		return nil
	})
}

// A route is taken out of the file while messages wait in its lane. Does the status say what its owner can do, and do they
// arrive when he does it?
func TestLaneWithoutARouteSaysWhatToDo(t *testing.T) {
	m, alice, bob := pair(t)
	m.start()
	r := newRecord(t, bob.broker.addr, "#", 1)
	m.nats.kill()
	l := newLoad(t, alice.broker.addr, "q1", 1)
	require.NoError(t, l.publish(t.Context(), 10))
	awaitQueued(t, alice.node, "all/bob", 10)
	routes := alice.node.config["routes"]
	alice.node.config["routes"] = list{}
	alice.node.stop()
	alice.node.start()
	out, _ := exec.Command(weftBin, "status", "-c", alice.node.file).CombinedOutput() // the network is down: status 1
	require.Regexp(t, `lane all/bob +orphaned +10 queued .*: no route and peer of these names in the configuration: .* put them back`, string(out))
	alice.node.config["routes"] = routes
	alice.node.reload()
	m.nats.start()
	r.awaitAll(t, l, 30*time.Second)
}

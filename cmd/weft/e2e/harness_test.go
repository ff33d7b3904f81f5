package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-relay/weft/plugins/remote"
)

// Programs under test, set by TestMain.
var weftBin, natsBin, mosquittoBin string

// TestMain runs daemons or a plugin instead of the tests when it is asked to, so that a test can have them in a process of their own.
func TestMain(m *testing.M) {
	if os.Getenv(serveTwisterds) != "" {
		os.Exit(runTwisterds())
	}
	if os.Getenv(remote.Handshake.MagicCookieKey) != "" {
		servePlugin()
	}
	os.Exit(run(m))
}

// builtPrograms names the folder of the programs under test where the process that started this one has built them.
const builtPrograms = "WEFT_TEST_PROGRAMS"

func run(m *testing.M) int {
	dir, err := os.Getenv(builtPrograms), error(nil)
	if dir == "" {
		if dir, err = os.MkdirTemp("", "weft-e2e-"); err == nil {
			defer os.RemoveAll(dir)
		}
	}
	if err == nil {
		err = prepare(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
}

// prepare finds mosquitto and builds the other programs into dir, unless it has them.
func prepare(dir string) (err error) {
	if mosquittoBin, err = exec.LookPath("mosquitto"); err != nil {
		if mosquittoBin, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil { // out of the PATH of ordinary users on Debian
			return errors.New("mosquitto is missing; install it: apt-get install mosquitto")
		}
	}
	weftBin, natsBin = filepath.Join(dir, "weft"), filepath.Join(dir, "nats-server")
	if os.Getenv(builtPrograms) != "" {
		return nil
	}
	if err := build(weftBin, "github.com/weft-relay/weft/cmd/weft", strings.Fields(os.Getenv("WEFT_E2E_BUILD"))...); err != nil {
		return err
	}
	return build(natsBin, "github.com/nats-io/nats-server/v2")
}

func build(bin, pkg string, flags ...string) error {
	args := append([]string{"build", "-o", bin}, flags...)
	if out, err := exec.Command("go", append(args, pkg)...).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// eventually waits until check returns nil, and fails the test with its last error when that takes too long.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(within); ; <-poll.C {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not so after %v: %v", within, err)
		}
	}
}

// lastPort makes ports below those that the system gives to outgoing connections: a killed server finds its own free again.
var lastPort atomic.Int32

const (
	firstPort = 10_000
	ports     = 20_000
)

// freeAddr returns a loopback address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	lastPort.CompareAndSwap(0, int32(os.Getpid()*37%ports))
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+int(lastPort.Add(1))%ports)
		l, err := net.Listen("tcp", addr)
		if err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port among 100")
	return ""
}

// awaitListening waits until something accepts connections at addr.
func awaitListening(t *testing.T, p *program, addr string) {
	t.Helper()
	eventually(t, 20*time.Second, func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if ended := p.hasEnded(); ended {
			t.Fatalf("%s ended by itself: %s\n%s", p.name, p.cmd.ProcessState, p.tail())
		}
		return err
	})
}

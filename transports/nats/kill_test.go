package nats_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
	"github.com/weft-relay/weft/transports/transporttest"
)

// With serverEnv set to STORE_DIR,PORT this binary is a nats-server, so that tests can kill one.
const serverEnv = "WEFT_TEST_NATS_SERVER"

func TestMain(m *testing.M) {
	if store, p, ok := strings.Cut(os.Getenv(serverEnv), ","); ok {
		os.Exit(serve(store, p))
	}
	os.Exit(m.Run())
}

// serve runs until it is killed or its parent, which holds the other end of stdin, is gone.
func serve(store, p string) int {
	opts := &natsserver.Options{Host: "127.0.0.1", JetStream: true, StoreDir: store, NoLog: true, NoSigs: true}
	if _, err := fmt.Sscan(p, &opts.Port); err != nil {
		return 2
	}
	server, err := natsserver.NewServer(opts)
	if err != nil {
		return 2
	}
	server.Start()
	if !server.ReadyForConnections(10 * time.Second) {
		return 2
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	return 0
}

// killable is a nats-server process.
type killable struct {
	store string
	port  int
	cmd   *exec.Cmd
}

func (k *killable) start(t *testing.T) {
	t.Helper()
	k.cmd = exec.Command(os.Args[0])
	k.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%d", serverEnv, k.store, k.port))
	k.cmd.Stderr = os.Stderr
	if _, err := k.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("server process: %q, %v", line, err)
	}
}

func (k *killable) kill(t *testing.T) {
	t.Helper()
	if err := k.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = k.cmd.Wait() // "signal: killed"
}

// Every promise holds when the network's faults are kill -9 of the server.
func TestTransportKeepsItsPromisesWhenTheServerIsKilled(t *testing.T) {
	features := transporttest.Features{Stores: true, Deduplicates: true, Restarts: true}
	transporttest.Run(t, features, func(t *testing.T) transporttest.Network {
		server := &killable{store: t.TempDir(), port: freePort(t)}
		server.start(t)
		t.Cleanup(func() { server.kill(t) })
		url := "nats://" + net.JoinHostPort("127.0.0.1", port(server.port))
		return transporttest.Network{
			Node: func(t *testing.T, name string, follow ...string) transports.Transport {
				return newNode(t, nats.Config{URL: url, Node: name, Follow: follow})
			},
			Stop: server.kill, Start: server.start,
		}
	})
}

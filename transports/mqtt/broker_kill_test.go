package mqtt_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/weft-relay/weft/transports/mqtt"
)

// TestMain runs the built-in broker instead of the tests when it is asked to, so that a test can kill it.
func TestMain(m *testing.M) {
	if listen := os.Getenv("WEFT_TEST_BROKER"); listen != "" {
		runBroker(listen, os.Getenv("WEFT_TEST_BROKER_DIR"))
		return
	}
	goleak.VerifyTestMain(m)
}

func runBroker(listen, dir string) {
	b, err := mqtt.NewBroker(mqtt.BrokerConfig{Listen: listen, DataDir: dir}, discard())
	if err == nil {
		err = b.Start(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	b.Close()
}

// brokerProcess is the built-in broker in a process of its own.
type brokerProcess struct {
	t       *testing.T
	address string
	dir     string
	cmd     *exec.Cmd
}

func startBrokerProcess(t *testing.T) *brokerProcess {
	b := &brokerProcess{t: t, address: fmt.Sprintf("127.0.0.1:%d", freePort(t)), dir: t.TempDir()}
	b.start()
	t.Cleanup(b.kill)
	return b
}

func (b *brokerProcess) start() {
	b.cmd = exec.Command(os.Args[0])
	b.cmd.Env = append(os.Environ(), "WEFT_TEST_BROKER="+b.address, "WEFT_TEST_BROKER_DIR="+b.dir)
	b.cmd.Stderr = os.Stderr
	require.NoError(b.t, b.cmd.Start())
	eventually(b.t, 10*time.Second, "the broker listens", func() bool {
		conn, err := net.Dial("tcp", b.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (b *brokerProcess) kill() {
	b.cmd.Process.Kill()
	b.cmd.Wait()
}

// Does everything arrive when the built-in broker is killed under load, at QoS 2 exactly once and in order?
func TestBuiltInBrokerLosesNothingWhenItIsKilled(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprint("qos", qos), func(t *testing.T) {
			broker := startBrokerProcess(t)
			receiver := session(t, config("mqtt://"+broker.address, "receiver"), nil)
			sender := session(t, config("mqtt://"+broker.address, "sender"), nil)
			got := subscribe(t, receiver, "a")
			const n = 2000
			done := make(chan error, 1)
			go func() { done <- publishRuns(sender, n, qos) }()
			for round := range 5 {
				eventually(t, 20*time.Second, "some messages", func() bool { return len(distinct(got.payloads())) > (round+1)*n/7 })
				broker.kill()
				broker.start()
			}
			require.NoError(t, <-done)
			if qos == 2 {
				exactly(t, got, n)
				return
			}
			eventually(t, 20*time.Second, "all messages", func() bool { return len(distinct(got.payloads())) == n })
			assert.Less(t, got.len(), 2*n)
		})
	}
}

// Are retained messages, subscriptions with what the bridge bit gives, and messages for a client that is away there after
// kill -9?
func TestBuiltInBrokerKeepsSessionsWhenItIsKilled(t *testing.T) {
	broker := startBrokerProcess(t)
	cfg := config("mqtt://"+broker.address, "receiver")
	store := mqtt.NewMemoryStore()
	away := session(t, cfg, store)
	subscribe(t, away, "a/#")
	require.NoError(t, away.Close())
	sender := session(t, config("mqtt://"+broker.address, "sender"), nil)
	broker.kill()
	broker.start()
	require.NoError(t, sender.Publish("", retained("a/1", "one", 1), retained("a/2", "two", 2), retained("r", "kept", 1), retained("gone", "x", 1)))
	require.NoError(t, sender.Publish("", retained("gone", "", 1)))
	broker.kill()
	broker.start()
	back, err := mqtt.New(cfg, store, nil, discard())
	require.NoError(t, err)
	messages, err := back.Subscribe(context.Background(), "a/#")
	require.NoError(t, err)
	got := collect(messages)
	require.NoError(t, back.Start(context.Background()))
	defer back.Close()
	eventually(t, 5*time.Second, "what was queued", func() bool { return got.len() >= 2 })
	assert.Equal(t, []string{"one", "two"}, got.payloads())
	assert.Equal(t, "1", got.msgs[0].Metadata.Get("mqtt_retain"))
	fresh := subscribe(t, session(t, config("mqtt://"+broker.address, "fresh"), nil), "#")
	eventually(t, 5*time.Second, "retained messages", func() bool { return fresh.len() >= 3 })
	assert.ElementsMatch(t, []string{"one", "two", "kept"}, fresh.payloads())
}

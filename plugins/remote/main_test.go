package remote_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/remote"
	"github.com/weft-relay/weft/plugins/serve"
	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
)

// The test program is the plugins of its tests too, and a node that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "as" {
		roles[os.Args[2]](os.Args[3:])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// roles are what the test program can be, by its second argument.
var roles = map[string]func(args []string){
	"node":   node,
	"plugin": func([]string) { serveStages() },
	"exits":  func([]string) { fmt.Fprintln(os.Stderr, "panic: no modem"); os.Exit(3) },
	"mute":   func([]string) { select {} },
	"greets": func(args []string) { fmt.Println(args[0]); select {} },
	"garbage": func([]string) {
		os.Stdout.Write(bytes.Repeat([]byte{0, 0xff, '|'}, 10<<10))
		select {}
	},
	"deaf": func([]string) { // shakes hands, and never answers
		fmt.Println("1|1|unix|" + os.Getenv("PLUGIN_UNIX_SOCKET_DIR") + "/nobody|grpc")
		select {}
	},
	"stubborn": func([]string) { // ends for nothing but SIGKILL
		signal.Ignore(syscall.SIGTERM)
		server := exec.Command(os.Args[0], "as", "plugin")
		server.Stdout, server.Stderr = os.Stdout, os.Stderr
		if _, err := server.StdinPipe(); err != nil || server.Start() != nil {
			os.Exit(1)
		}
		select {}
	},
}

func serveStages() {
	serve.Main(
		serve.Stage("empty", func(struct{}, *slog.Logger) (*pass, error) { return &pass{}, nil }).Comment("passes everything on"),
		serve.Stage("keep", func(c keepConfig, _ *slog.Logger) (*keeper, error) { return &keeper{config: c}, nil }),
		serve.Stage("odd", newOdd),
		serve.Transport("nats", func(c natsConfig, log *slog.Logger) (*nats.Transport, error) { return nats.New(c.Config, log) }),
	)
}

// natsConfig is that of a transport which is built in, as one of a plugin.
type natsConfig struct {
	nats.Config `yaml:",inline"`
}

func (c *natsConfig) SetNode(n transports.Node) { c.Node, c.Follow = n.Name, n.Names() }

type pass struct{}

func (*pass) Process(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	return stage.Output{Messages: in}, nil
}

type keepConfig struct {
	Text  string        `yaml:"text"`
	Every time.Duration `yaml:"every"`
}

func (c *keepConfig) SetDefaults() { c.Every = time.Minute }

func (c *keepConfig) Validate() error {
	if c.Text == "bad" {
		return errors.New("text: bad is bad; write good")
	}
	return nil
}

// keeper keeps the last message of each topic back until one with the payload "go" comes, which it drops.
type keeper struct {
	config keepConfig
	kept   []stage.Message
}

func (k *keeper) Process(_ context.Context, now time.Time, in []stage.Message) (out stage.Output, err error) {
	for _, m := range in {
		if string(m.Payload) == "die" {
			os.Exit(1)
		}
		if string(m.Payload) == "go" {
			out.Messages = append(out.Messages, k.kept...)
			k.kept = nil
			continue
		}
		k.kept = append(k.kept, m)
		out.Kept = append(out.Kept, m.ID)
	}
	if len(k.kept) > 0 {
		out.Again = now.Add(k.config.Every)
	}
	return out, nil
}

// odd does what the payload says, and much of it is wrong.
type odd struct{ log *slog.Logger }

func newOdd(_ struct{}, log *slog.Logger) (*odd, error) { return &odd{log}, nil }

var hoard [][]byte

func (o *odd) Process(_ context.Context, _ time.Time, in []stage.Message) (out stage.Output, err error) {
	out.Messages = append(out.Messages, in...)
	first := in[0]
	switch word, rest, _ := strings.Cut(string(first.Payload), " "); word {
	case "exit":
		os.Exit(7)
	case "panic":
		panic("odd indeed")
	case "hang":
		select {}
	case "error":
		return out, errors.New("no key for " + rest)
	case "split":
		first.Payload = []byte("half")
		out.Messages = []stage.Message{first, first}
	case "change":
		first.Topic, first.Payload, first.QoS, first.Retain = "new/"+first.Topic, nil, 0, !first.Retain
		out.Messages[0] = first
	case "refuse":
		out.Messages, out.Refused = in[1:], []stage.Refusal{{ID: first.ID, Reason: "no checksum"}}
	case "stranger":
		first.ID = 1 << 40
		out.Messages[0] = first
	case "reorder":
		out.Messages = []stage.Message{in[1], in[0]}
	case "topic":
		first.Topic = "a/#"
		out.Messages[0] = first
	case "qos":
		first.QoS = 3
		out.Messages[0] = first
	case "keep":
		out.Kept = []uint64{first.ID}
	case "supersede":
		out.Superseded = []uint64{first.ID}
	case "huge":
		first.Payload = make([]byte, 200<<20)
		out.Messages[0] = first
	case "explode":
		out.Messages = nil
		for range 2000 {
			out.Messages = append(out.Messages, first)
		}
	case "eat":
		for range 200 {
			hoard = append(hoard, bytes.Repeat([]byte("eat me"), 1<<20))
		}
		select {}
	case "flood":
		line := []byte(strings.Repeat("flood ", 100) + "\n")
		for range 20000 {
			os.Stderr.Write(line)
		}
		fmt.Fprintln(os.Stdout, strings.Repeat("long", 100<<10))
		o.log.Warn("flooded", "lines", 20000)
	case "print":
		fmt.Println("printed")
		o.log.Warn("logged", "key", "value")
	case "fork":
		child := exec.Command("sleep", "100000")
		if err := child.Start(); err != nil {
			return out, err
		}
		first.Payload = fmt.Append(nil, child.Process.Pid)
		out.Messages[0] = first
	case "env":
		first.Payload = []byte(strings.Join(os.Environ(), "\n"))
		out.Messages[0] = first
	}
	return out, nil
}

// node runs a plugin that has started a child, says their numbers, and waits to be killed.
func node([]string) {
	err := func() error {
		program, err := remote.New(config("plugin"), slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		if err := program.Start(context.Background()); err != nil {
			return err
		}
		out, err := program.Stage("odd", nil, "test").Process(context.Background(), time.Now(), messages("fork"))
		if err != nil {
			return err
		}
		fmt.Printf("%d %s\n", program.Status().PID, out.Messages[0].Payload)
		return nil
	}()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// config is that of a plugin which the test program is.
func config(role string, args ...string) remote.Config {
	c := remote.Config{}
	c.SetDefaults()
	c.Name, c.Command, c.Timeout = "lora", append([]string{os.Args[0], "as", role}, args...), patience
	c.Memory = 0
	return c
}

// patience bounds what takes a moment on an idle machine.
const patience = time.Minute

// start starts a plugin, which ends with the test.
func start(t testing.TB, c remote.Config) *remote.Program {
	return startLogged(t, c, slog.New(slog.DiscardHandler))
}

func startLogged(t testing.TB, c remote.Config, log *slog.Logger) *remote.Program {
	t.Helper()
	program, err := remote.New(c, log)
	require.NoError(t, err)
	require.NoError(t, program.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, program.Close()) })
	return program
}

// messages returns one message a payload.
func messages(payloads ...string) (all []stage.Message) {
	for i, payload := range payloads {
		all = append(all, mqttMessage(uint64(i+1), "a/b", payload))
	}
	return all
}

func mqttMessage(id uint64, topic, payload string) stage.Message {
	return stage.Message{ID: id, Topic: topic, Payload: []byte(payload), QoS: 1, Time: time.Unix(0, 1_700_000_000_000_000_000), Origin: "alice"}
}

// process gives a stage messages until the plugin is there.
func process(t testing.TB, s stage.Stage, in []stage.Message) (out stage.Output, err error) {
	t.Helper()
	require.Eventually(t, func() bool {
		out, err = s.Process(t.Context(), time.Now(), in)
		return !(errors.Is(err, remote.ErrUnavailable) || errors.Is(err, stage.ErrLost)) || errors.Is(err, remote.ErrContract) || errors.Is(err, stage.ErrCrashed)
	}, patience, 10*time.Millisecond, "last error: %v", &err)
	return out, err
}

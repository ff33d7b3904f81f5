//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// site is where one path is set up: a folder, and the processes in it.
type site struct {
	dir       string
	bin       map[string]string // file of each program
	qos       byte
	sync      string // JetStream's sync_interval
	processes []*process
	ends      []func() // of what runs in this process
	far       *far     // what is between the nodes, where that is far; else nil
}

// close ends what was started, the last first.
func (s *site) close() {
	for _, p := range slices.Backward(s.processes) {
		p.stop()
	}
	for _, end := range s.ends {
		end()
	}
}

func (s *site) spawn(name, bin string, args ...string) (*process, error) {
	p, err := spawn(name, s.dir, bin, args...)
	if err == nil {
		s.processes = append(s.processes, p)
	}
	return p, err
}

// brokerConfig is the same for every broker of every path. Without the two limits at 0 (none), Mosquitto would hold
// subscribers and bridges to 20 messages in flight and drop what waits beyond 1,000; with Nagle's algorithm, small packets
// would wait for acknowledgements. Nothing is kept on disk, for Mosquitto writes its database every half hour only.
const brokerConfig = `listener %s 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
sys_interval 0
log_dest stdout
log_type error
log_type warning
%s`

// mosquitto starts a broker with the extra configuration and returns its address.
func (s *site) mosquitto(ctx context.Context, name, extra string) (addr string, err error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.dir, name+".conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, brokerConfig, fmt.Sprint(port), extra), 0o644); err != nil {
		return "", err
	}
	p, err := s.spawn(name, s.bin["mosquitto"], "-c", file)
	if err != nil {
		return "", err
	}
	addr = loopback(port)
	return addr, p.awaitListening(ctx, addr)
}

// nats starts a JetStream server and returns its address.
func (s *site) nats(ctx context.Context) (addr string, err error) {
	if addr, err = s.address(); err != nil {
		return "", err
	}
	file := filepath.Join(s.dir, "nats.conf")
	config := fmt.Sprintf("listen: %q\njetstream: {store_dir: %q, sync_interval: %s}\n", addr, filepath.Join(s.dir, "nats"), s.sync)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return "", err
	}
	p, err := s.spawn("nats", s.bin["nats-server"], "-c", file)
	if err != nil {
		return "", err
	}
	return addr, p.awaitListening(ctx, addr)
}

func (s *site) address() (string, error) {
	port, err := freePort()
	return loopback(port), err
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// build compiles the programs that the scenarios need into dir and finds mosquitto, and returns where they are.
func build(ctx context.Context, dir string, scenarios []scenario) (map[string]string, error) {
	mosquitto, err := exec.LookPath("mosquitto")
	if err != nil {
		mosquitto, err = exec.LookPath("/usr/sbin/mosquitto") // where Debian keeps it from the PATH of ordinary users
	}
	if err != nil {
		return nil, fmt.Errorf("%w; install it with: apt-get install mosquitto", err)
	}
	bin := map[string]string{"mosquitto": mosquitto}
	for _, s := range scenarios {
		for _, name := range s.needs {
			if bin[name] != "" {
				continue
			}
			bin[name] = filepath.Join(dir, name)
			command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin[name], packages[name])
			command.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := command.CombinedOutput(); err != nil {
				return nil, fmt.Errorf("build %s: %w\n%s", name, err, out)
			}
		}
	}
	return bin, nil
}

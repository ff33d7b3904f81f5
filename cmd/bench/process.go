//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running program of a path.
type process struct {
	name  string
	pid   int
	admin string // address of a node's admin HTTP; "" where there is none

	cmd   *exec.Cmd
	log   string        // file of what it prints
	ended chan struct{} // closed when it has ended and was waited for
}

// spawn starts a program. It dies with this one, whatever happens; whoever spawned it calls stop.
func spawn(name, dir, bin string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{name: name, cmd: exec.Command(bin, args...), log: log.Name(), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	// A group of its own keeps a Ctrl-C on the terminal from reaching it before this program has stopped the load.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = p.cmd.Process.Pid
	go func() {
		_ = p.cmd.Wait() // how it ended matters only where it should not have; alive tells
		close(p.ended)
	}()
	return p, nil
}

// stop ends the process, at first politely, and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// alive returns nil while the process runs, and afterwards an error with the last it printed.
func (p *process) alive() error {
	select {
	case <-p.ended:
		printed, _ := os.ReadFile(p.log)
		return fmt.Errorf("%s ended by itself: %s: %s", p.name, p.cmd.ProcessState, printed[max(0, len(printed)-2000):])
	default:
		return nil
	}
}

// awaitListening waits until something accepts connections at addr.
func (p *process) awaitListening(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errors.New("nothing listens after 20 s"))
	defer cancel()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if err := p.alive(); err != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s at %s: %w", p.name, addr, context.Cause(ctx))
		}
	}
}

// profile saves the node's CPU profile of the coming seconds.
func (p *process) profile(ctx context.Context, length time.Duration, file string) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.admin, max(1, int(length.Seconds())))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("profile of %s: %s", p.name, response.Status)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o644)
}

// cpuTime returns the CPU time that all threads of the process, ended ones too, have used. It reads the kernel's own
// clock of the process, in nanoseconds, where /proc/PID/stat has ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED of the kernel's MAKE_PROCESS_CPUCLOCK
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// What [memory] reads.
const (
	peakRSS = "VmHWM" // the most that was resident at once
	nowRSS  = "VmRSS"
)

// memory returns so many bytes of the process.
func memory(pid int, field string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte(field+":")); ok {
			kib, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d: no %s in its status", pid, field)
}

// freePort returns a loopback port that nobody listens on.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

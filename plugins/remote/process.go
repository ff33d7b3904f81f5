package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// process is one run of a program, as go-plugin's Runner. Its output goes to the journal, and go-plugin sees the handshake alone.
type process struct {
	config  *Config
	journal *journal
	folder  string   // of its socket
	env     []string // beside what the configuration sets

	cmd       *exec.Cmd
	guard     *exec.Cmd // nil where none could be started
	stdin     *os.File  // our end; the program ends when it is closed
	leash     *os.File  // our end of the guard's pipe
	handshake *io.PipeReader
	output    sync.WaitGroup
	quiet     context.CancelFunc // reads the output without holding it up
	done      chan struct{}      // closed when the program has ended, and its group with it
	exit      error              // why, once done

	mu      sync.Mutex
	leader  *os.Process // nil before it is started
	reason  error       // why it was killed, or what is wrong with its handshake
	greeted bool        // the handshake has come

	runner.AddrTranslator // addresses are the same on both sides
}

var _ runner.Runner = (*process)(nil)

func newProcess(config *Config, j *journal, folder string) *process {
	j.begin()
	return &process{config: config, journal: j, folder: folder, done: make(chan struct{}), AddrTranslator: sameAddresses{}}
}

type sameAddresses struct{}

func (sameAddresses) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

func (sameAddresses) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// Start starts the program.
func (p *process) Start(context.Context) error {
	started := make(chan error)
	go p.live(started)
	return <-started
}

// live starts the program and waits for its end, on a thread of its own: the kernel kills the program when that thread ends.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	pipes, err := p.start()
	if err != nil {
		p.exit = err
		started <- err
		return
	}
	p.lead(p.cmd.Process)
	p.watch()
	started <- nil
	p.exit = p.cmd.Wait()
	killGroup(p.cmd.Process)
	p.leash.Close()
	if p.guard != nil {
		_ = p.guard.Wait()
	}
	p.stdin.Close()
	p.drain(pipes)
}

// start opens the pipes and starts the command. It returns our ends of its output.
func (p *process) start() ([]*os.File, error) {
	var ours, theirs []*os.File
	for i := range 3 {
		read, write, err := os.Pipe()
		if err != nil {
			closeAll(ours, theirs)
			return nil, err
		}
		if i == 0 {
			read, write = write, read
		}
		ours, theirs = append(ours, read), append(theirs, write)
	}
	p.cmd = exec.Command(p.config.path(), p.config.Command[1:]...)
	p.cmd.Dir, p.cmd.Env = p.config.Dir, p.environment()
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs[0], theirs[1], theirs[2]
	p.cmd.SysProcAttr = attributes()
	err := p.cmd.Start()
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return nil, p.config.explain(err)
	}
	p.stdin = ours[0]
	p.read(ours[1], ours[2])
	return ours[1:], nil
}

func closeAll(lists ...[]*os.File) {
	for _, files := range lists {
		for _, file := range files {
			file.Close()
		}
	}
}

// inherited are the variables that a program gets of the node's environment.
var inherited = []string{"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT"}

func (p *process) environment() []string {
	var env []string
	for _, key := range inherited {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	for key, value := range p.config.Env {
		env = append(env, key+"="+value)
	}
	return append(env, p.env...)
}

// watch starts the guard. Without one, what the program has started may outlive the node.
func (p *process) watch() {
	read, write, err := os.Pipe()
	if err != nil {
		return
	}
	p.leash = write
	guard := newGuard(p.cmd.Process.Pid, read, p.folder)
	if guard.Start() == nil {
		p.guard = guard
	}
	read.Close()
}

// read passes the handshake on, and logs everything else.
func (p *process) read(stdout, stderr *os.File) {
	ctx, cancel := context.WithCancel(context.Background())
	p.quiet = cancel
	handshake, forward := io.Pipe()
	p.handshake = handshake
	p.output.Go(func() {
		lines := bufio.NewReaderSize(stdout, maxLine)
		line, err := lines.ReadSlice('\n')
		if err = checkHandshake(string(line), err); err != nil {
			p.blame(err)
		} else {
			p.greet(len(line) > 0)
			_, _ = forward.Write(line)
		}
		forward.Close()
		p.journal.copy(ctx, lines, "stdout")
	})
	p.output.Go(func() { p.journal.copy(ctx, stderr, "stderr") })
}

// drain waits for the rest of the output, though not for ever: what has left the group may hold the pipes.
func (p *process) drain(pipes []*os.File) {
	for _, pipe := range pipes {
		_ = pipe.SetReadDeadline(time.Now().Add(graceOutput))
	}
	stop := time.AfterFunc(graceOutput, p.quiet)
	p.handshake.Close()
	p.output.Wait()
	stop.Stop()
	p.quiet()
	closeAll(pipes)
}

// checkHandshake says what is wrong with the first line of a program's output, and err is that of reading it.
func checkHandshake(line string, err error) error {
	const want = `the first line that it writes must be the handshake, such as "1|1|unix|/tmp/socket|grpc"`
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return fmt.Errorf("%w: it wrote %.60q...; %s", ErrContract, line, want)
	case line == "" && err != nil:
		return nil // it has ended, which says more
	}
	parts := strings.Split(strings.TrimSpace(line), "|")
	if len(parts) < 5 || parts[0] != "1" {
		return fmt.Errorf("%w: it wrote %.60q; %s", ErrContract, line, want)
	}
	if version := strconv.Itoa(int(Handshake.ProtocolVersion)); parts[1] != version {
		return fmt.Errorf("%w: it speaks version %.20q of the plugin protocol, and this node %s; build both for the same", ErrContract, parts[1], version)
	}
	if parts[4] != "grpc" {
		return fmt.Errorf("%w: it speaks %.20q; it must speak grpc", ErrContract, parts[4])
	}
	if parts[2] == "unix" {
		return nil
	}
	host, _, err := net.SplitHostPort(parts[3])
	if ip := net.ParseIP(host); parts[2] != "tcp" || err != nil || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%w: it listens on %.20q %.60q; it must listen on a Unix socket or on a port of 127.0.0.1", ErrContract, parts[2], parts[3])
	}
	return nil
}

// blame notes why the process ends, unless something is noted already.
func (p *process) blame(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == nil {
		p.reason = reason
	}
}

// greet notes whether the handshake has come.
func (p *process) greet(come bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.greeted = come
}

// lead notes that the program is started, and kills it where that was asked for meanwhile.
func (p *process) lead(leader *os.Process) {
	offer(leader.Pid)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leader = leader
	if p.reason != nil {
		killGroup(leader)
	}
}

// kill ends the process at once, or as soon as it is started, for that reason.
func (p *process) kill(reason error) {
	p.blame(reason)
	_ = p.Kill(context.Background())
}

// blamed says whether it is noted already why the process ends.
func (p *process) blamed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason != nil
}

// why says in plain words why the process has ended. It is called when done.
func (p *process) why() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	words := p.journal.lastWords()
	switch {
	case p.reason != nil:
		return p.reason
	case p.cmd == nil || p.cmd.ProcessState == nil:
		return fmt.Errorf("not started: %w", p.exit)
	case words == "" && !p.greeted:
		return fmt.Errorf("it ended with %s before the handshake, the first line that a plugin writes", p.cmd.ProcessState)
	case words == "":
		return fmt.Errorf("it ended with %s", p.cmd.ProcessState)
	}
	return fmt.Errorf("it ended with %s: %.200s", p.cmd.ProcessState, words)
}

// stop asks the program to end, and makes it: after grace it is told by a signal, and after as long again it is killed.
func (p *process) stop(grace time.Duration) {
	p.stdin.Close()
	for _, end := range []func(*os.Process){terminateGroup, killGroup} {
		select {
		case <-p.done:
			return
		case <-time.After(grace):
			end(p.cmd.Process)
		}
	}
	<-p.done
}

// Kill ends the process with its group.
func (p *process) Kill(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done: // the number may be another's by now
	default:
		if p.leader != nil {
			killGroup(p.leader)
		}
	}
	return nil
}

// Wait returns when the process has ended.
func (p *process) Wait(context.Context) error {
	<-p.done
	return p.exit
}

// Stdout is the handshake.
func (p *process) Stdout() io.ReadCloser { return p.handshake }

// Stderr is empty: the journal has it.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name of the program.
func (p *process) Name() string { return p.config.Name }

// ID is the process's number.
func (p *process) ID() string {
	return strconv.Itoa(p.pid())
}

// pid returns the process's number, 0 before it is started.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader == nil {
		return 0
	}
	return p.leader.Pid
}

// Diagnose has nothing to add.
func (p *process) Diagnose(context.Context) string { return "" }

// memory returns the resident bytes of the program and of what it has started.
func (p *process) memory() int64 { return memoryOf(p.cmd.Process.Pid, p.guardPID()) }

// children returns what the program has started, and what that has.
func (p *process) children() []int { return startedBy(p.cmd.Process.Pid, p.guardPID()) }

// guardPID returns the number of the guard, 0 where there is none.
func (p *process) guardPID() int {
	if p.guard == nil {
		return 0
	}
	return p.guard.Process.Pid
}

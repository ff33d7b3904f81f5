package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// program is a child process that can be ended and started again. All it prints goes to one file, which a failing test
// shows the end of.
type program struct {
	t    *testing.T
	name string
	bin  string
	args []string
	log  string
	user uint32 // to run as; 0 is as this process

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has been waited for
}

// newProgram makes a program that ends with the test. It runs in dir.
func newProgram(t *testing.T, dir, name, bin string, args ...string) *program {
	p := &program{t: t, name: name, bin: bin, args: args, log: filepath.Join(dir, name+".log")}
	t.Cleanup(func() {
		if p.ended != nil && !p.hasEnded() {
			p.signal(syscall.SIGCONT)
			p.kill()
		}
		for _, crash := range []string{"DATA RACE", "panic: ", "fatal error: "} {
			if strings.Contains(p.output(), crash) {
				t.Errorf("%s printed %q", name, crash)
			}
		}
		if t.Failed() {
			t.Logf("the last of %s:\n%s", name, p.tail())
		}
	})
	return p
}

func (p *program) start() {
	p.t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer out.Close()
	p.cmd = exec.Command(p.bin, p.args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = filepath.Dir(p.log), out, out
	// A group of its own, and an end with this process, whatever happens to it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if p.user != 0 {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.user, Gid: p.user}
	}
	require.NoError(p.t, p.cmd.Start(), p.name)
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() {
		_ = cmd.Wait() // ProcessState tells
		close(ended)
	}()
}

func (p *program) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *program) signal(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig) // one that has ended needs none
}

// kill is kill -9.
func (p *program) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// stop asks the program to end, and returns its exit status.
func (p *program) stop() int {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	return p.exit(60 * time.Second)
}

// exit waits for the program to end, and returns its exit status.
func (p *program) exit(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.signal(syscall.SIGQUIT) // prints the goroutines
		<-p.ended
		p.t.Fatalf("%s has not ended within %v", p.name, within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// output returns all that the program has printed.
func (p *program) output() string {
	text, _ := os.ReadFile(p.log) // there is none before the first start
	return string(text)
}

func (p *program) tail() string {
	text := p.output()
	return text[max(0, len(text)-8000):]
}

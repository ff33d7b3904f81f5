package remote

import (
	"context"
	"log/slog"
	"os"

	"google.golang.org/grpc"
)

// Trial is one run of a program that nobody starts again and whose memory nobody measures, for whoever finds out how it behaves: its stages
// and transports are as those of any [Program].
type Trial struct {
	*Program
	session *session
}

// Launch starts a program, and waits until it has described itself. The error of a start is a [StartError], and nothing is left running
// then. Close ends the program.
func Launch(ctx context.Context, config Config, log *slog.Logger) (*Trial, error) {
	p, err := New(config, log)
	if err != nil {
		return nil, err
	}
	s, err := p.launch(ctx)
	if err != nil {
		return nil, err
	}
	p.become(Running, s, nil)
	return &Trial{p, s}, nil
}

// Close ends the program, gently where it still runs.
func (t *Trial) Close() error {
	t.become(Stopped, nil, nil)
	t.session.close()
	return nil
}

// Description is what the program said of itself.
func (t *Trial) Description() Description { return t.session.description }

// Conn is the connection to the program, for calls that a node would not make.
func (t *Trial) Conn() grpc.ClientConnInterface { return t.session.conn }

// Health asks the program for it.
func (t *Trial) Health() error { return t.session.checkHealth() }

// EndInput ends the program's standard input, which is to end the program.
func (t *Trial) EndInput() {
	t.session.stop()
	t.session.proc.stdin.Close()
}

// Terminate sends SIGTERM to the program and what it has started.
func (t *Trial) Terminate() {
	t.session.stop()
	terminateGroup(t.session.proc.cmd.Process)
}

// Ended is closed when the program has ended, and its process group with it.
func (t *Trial) Ended() <-chan struct{} { return t.session.done }

// Why says in plain words why the program has ended.
func (t *Trial) Why() error { return t.session.proc.why() }

// Children returns the processes that the program has started, and what these have. There are none where the system does not show them.
func (t *Trial) Children() (all []*os.Process) {
	for _, pid := range t.session.proc.children() {
		if one, err := os.FindProcess(pid); err == nil {
			all = append(all, one)
		}
	}
	return all
}

// ShowsChildren says whether the system shows what a program has started.
const ShowsChildren = measures

// Alive says whether a process has not ended.
func Alive(p *os.Process) bool { return alive(p.Pid) }

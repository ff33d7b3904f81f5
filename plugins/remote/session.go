package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
)

// maxAnswer bounds an answer in bytes, beside twice what was asked.
const maxAnswer = 64 << 20

// grace is how long a program may take to end by itself, and then after a signal.
const grace = 2 * time.Second

// session is one run of a program, from its handshake on.
type session struct {
	program *Program
	proc    *process
	client  *plugin.Client
	conn    *grpc.ClientConn
	dir     string // of its socket

	step        Step // of the start
	description Description
	since       time.Time
	memory      atomic.Int64 // as measured last, in bytes

	done chan struct{} // closed when the process has ended

	mu       sync.Mutex
	waiting  int  // calls that have no answer yet
	ended    bool // the process has: no more calls
	stopping bool // by us: no call is to blame
}

// launch starts the program and waits until it has described itself. On an error nothing is left running.
func (p *Program) launch(ctx context.Context) (*session, error) {
	dir, err := socketDir()
	if err != nil {
		return nil, err
	}
	s := &session{program: p, dir: dir, since: time.Now(), done: make(chan struct{})}
	s.proc = newProcess(&p.config, p.journal, dir)
	overdue := time.AfterFunc(p.config.Timeout, func() {
		s.proc.kill(fmt.Errorf("it was not ready within %v", p.config.Timeout))
	})
	stop := context.AfterFunc(ctx, func() { s.proc.kill(errors.New("it was stopped while it started")) })
	err = s.connect()
	overdue.Stop()
	stop()
	if err == nil {
		go s.await()
		return s, nil
	}
	err = s.fail(err)
	s.release()
	return nil, &StartError{s.step, err}
}

// Step is a part of a program's start.
type Step string

// Steps, in their order.
const (
	StepHandshake Step = "handshake"
	StepHealth    Step = "health"
	StepDescribe  Step = "describe"
)

// StartError is the error of a start, with the step that was not done.
type StartError struct {
	Step Step
	error
}

func (e *StartError) Unwrap() error { return e.error }

// maxSocketDir is how long the folder's name may be: that of a socket has at most 104 bytes, of which go-plugin takes its part.
const maxSocketDir = 104 - len("/plugin-dir1234567890/plugin1234567890")

func socketDir() (string, error) {
	dir, err := os.MkdirTemp("", "weft-plugin-")
	if err != nil {
		return "", fmt.Errorf("make a folder for its socket: %w", err)
	}
	if len(dir) > maxSocketDir {
		_ = os.Remove(dir)
		return "", fmt.Errorf("the folder for temporary files, %s, has too long a name for sockets; set TMPDIR to a shorter one", os.TempDir())
	}
	return dir, nil
}

// fail ends a program that could not be connected to. One that has ended by itself says why better than err does.
func (s *session) fail(err error) error {
	if s.proc.pid() == 0 {
		return err
	}
	if !s.proc.blamed() {
		select {
		case <-s.proc.done:
		case <-time.After(grace):
		}
	}
	select {
	case <-s.proc.done:
	default:
		s.proc.kill(err)
		<-s.proc.done
	}
	return s.proc.why()
}

// connect starts the process and connects to it.
func (s *session) connect() error {
	journal, output := s.program.journal, context.Background()
	s.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: Handshake,
		Plugins:         plugin.PluginSet{Service: connection{}},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			s.proc.env = cmd.Env
			return s.proc, nil
		},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     s.program.config.Timeout + grace, // it is killed before that
		SkipHostEnv:      true,
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       journal.writer(output, "stdout"),
		SyncStderr:       journal.writer(output, "stderr"),
		GRPCDialOptions:  []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer))},
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: s.dir},
	})
	s.step = StepHandshake
	address, err := s.client.Start()
	if err != nil {
		return err
	}
	s.step = StepHealth
	if err := s.knock(address); err != nil {
		return err
	}
	protocol, err := s.client.Client()
	if err != nil {
		return err
	}
	conn, err := protocol.Dispense(Service)
	if err != nil {
		return err
	}
	s.conn, s.step = conn.(*grpc.ClientConn), StepDescribe
	s.description, err = s.describe()
	return err
}

// knock waits until the program answers. What go-plugin would begin with one that never does has no end.
func (s *session) knock(address net.Addr) error {
	conn, err := grpc.NewClient("passthrough:plugin", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, address.Network(), address.String())
		}))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), s.program.config.Timeout)
	defer cancel()
	return checkHealth(ctx, conn)
}

func checkHealth(ctx context.Context, conn *grpc.ClientConn) error {
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	switch {
	case status.Code(err) == codes.DeadlineExceeded:
		return errors.New("it does not answer the health check")
	case err != nil:
		return fmt.Errorf("health check: %s", plain(err))
	case answer.Status != grpc_health_v1.HealthCheckResponse_SERVING:
		return fmt.Errorf("it calls itself %s; a plugin answers SERVING for the service %q", answer.Status, plugin.GRPCServiceName)
	}
	return nil
}

// connection is what go-plugin has instead of an interface: the connection itself.
type connection struct{ plugin.NetRPCUnsupportedPlugin }

func (connection) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return errors.ErrUnsupported }

func (connection) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// await notes the end of the process.
func (s *session) await() {
	<-s.proc.done
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	close(s.done)
}

// enter counts a call, unless the process has ended.
func (s *session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.waiting++
	}
	return !s.ended
}

// over says whether the process has ended.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
}

// toBlame says whether the process has ended during a call, and whether that was the only one.
func (s *session) toBlame(err error) (crashed, alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var end *ending
	if !errors.As(err, &end) || s.stopping {
		return false, false
	}
	return true, end.calls == 1
}

// ending is the error of a call during which the program ended.
type ending struct {
	reason error
	calls  int // that were waiting
}

func (e *ending) Error() string { return fmt.Sprintf("%s: %s", ErrUnavailable, e.reason) }

func (e *ending) Unwrap() []error { return []error{ErrUnavailable, e.reason} }

// stop notes that the node ends the program.
func (s *session) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
}

func (s *session) kill(reason error) {
	s.mu.Lock()
	stopping := s.stopping
	s.mu.Unlock()
	if !stopping {
		s.proc.kill(reason)
	}
}

// checkMemory measures the memory of the program. An error is why it has to end.
func (s *session) checkMemory() error {
	used, limit := s.proc.memory(), s.program.config.Memory
	s.memory.Store(used)
	if limit > 0 && used > limit {
		return fmt.Errorf("it used %d MiB of memory, and may use %d MiB; raise memory where it needs more", used>>20, limit>>20)
	}
	return nil
}

func (s *session) checkHealth() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.program.config.Timeout)
	defer cancel()
	return checkHealth(ctx, s.conn)
}

// close ends the program, gently where it still runs, and waits until it has ended.
func (s *session) close() {
	select {
	case <-s.done:
	default:
		s.stop()
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		_ = s.conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", new(emptypb.Empty), new(emptypb.Empty)) // not every program has it
		cancel()
		s.proc.stop(grace)
	}
	<-s.done
	s.client.Kill()
	s.release()
}

func (s *session) release() { _ = os.RemoveAll(s.dir) }

// call asks the program for something. Where the program does not answer in time it is killed; where it has ended, the error says why, and is
// ErrUnavailable. An error of the program's own is a Fault.
func (s *session) call(ctx context.Context, ask func(context.Context) error) error {
	if !s.enter() {
		return fmt.Errorf("%w: %w", ErrUnavailable, s.proc.why())
	}
	err := s.ask(ctx, ask)
	if err == nil || !errors.Is(err, ErrUnavailable) {
		s.leave()
		return err
	}
	<-s.done // the call counts as waiting until all that were are known
	s.mu.Lock()
	defer s.mu.Unlock()
	return &ending{s.proc.why(), s.waiting}
}

func (s *session) ask(ctx context.Context, ask func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, s.program.config.Timeout)
	defer cancel()
	err := ask(limited)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil || s.overdue(limited, err):
		s.kill(fmt.Errorf("it did not answer within %v", s.program.config.Timeout))
	case status.Code(err) == codes.ResourceExhausted:
		return fmt.Errorf("%w: %s", ErrContract, plain(err))
	case !cut(err) || s.checkHealth() == nil:
		return &Fault{Code: status.Code(err), Text: plain(err)}
	default:
		s.broken()
	}
	return ErrUnavailable
}

// overdue says whether a call was given up by the other side because its time was up: that knows the deadline too, and may be first.
func (s *session) overdue(ctx context.Context, err error) bool {
	deadline, _ := ctx.Deadline()
	code := status.Code(err)
	return (code == codes.Canceled || code == codes.DeadlineExceeded) && time.Until(deadline) < s.program.config.Timeout/10
}

// cut says whether an error may mean that the connection to the program has broken: one that is closed for that cancels its calls.
func cut(err error) bool {
	return status.Code(err) == codes.Unavailable || status.Code(err) == codes.Canceled
}

// broken ends a program whose connection broke. Mostly it has ended by itself, and says why better.
func (s *session) broken() {
	select {
	case <-s.done:
	case <-time.After(grace):
		s.kill(errors.New("its connection broke"))
	}
}

// Fault is an error that a program has answered with.
type Fault struct {
	Code codes.Code
	Text string
}

func (f *Fault) Error() string { return f.Text }

// plain returns the words of a gRPC error.
func plain(err error) string {
	text := status.Convert(err).Message()
	return clip(text, maxReason)
}

// maxReason bounds what a program says of an error, in bytes.
const maxReason = 1 << 10

func (s *session) describe() (Description, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.program.config.Timeout)
	defer cancel()
	answer, err := pluginv1.NewPluginServiceClient(s.conn).Describe(ctx, new(pluginv1.DescribeRequest))
	if err != nil {
		return Description{}, fmt.Errorf("describe: %s", plain(err))
	}
	return newDescription(answer)
}

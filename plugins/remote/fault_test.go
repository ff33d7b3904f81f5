package remote_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/remote"
)

var discard = slog.New(slog.DiscardHandler)

func TestProgramThatCannotBeUsedIsNamedWithItsReason(t *testing.T) {
	for name, tt := range map[string]struct {
		role string
		args []string
		want string
	}{
		"crashes at start":      {"exits", nil, "it ended with exit status 3: panic: no modem"},
		"says nothing":          {"mute", nil, "it was not ready within"},
		"answers nothing":       {"deaf", nil, "health check: "},
		"writes garbage":        {"garbage", nil, "the first line that it writes must be the handshake"},
		"writes something else": {"greets", []string{"hello"}, `it wrote "hello\n"; the first line`},
		"other version":         {"greets", []string{"1|2|unix|/tmp/x|grpc"}, `it speaks version "2" of the plugin protocol, and this node 1`},
		"other protocol":        {"greets", []string{"1|1|unix|/tmp/x|netrpc"}, `it must speak grpc`},
		"listens to the world":  {"greets", []string{"1|1|tcp|0.0.0.0:1|grpc"}, `it must listen on a Unix socket or on a port of 127.0.0.1`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config(tt.role, tt.args...)
			if name == "says nothing" || name == "answers nothing" {
				c.Timeout = 500 * time.Millisecond
			}
			program := start(t, c)
			require.Eventually(t, func() bool { return program.Status().Restarts >= 2 }, patience, 10*time.Millisecond)
			require.Contains(t, program.Status().Error, tt.want)
			_, err := program.Stage("empty", nil, "doors").Process(t.Context(), time.Now(), messages("one"))
			require.ErrorIs(t, err, remote.ErrUnavailable)
			require.Contains(t, err.Error(), `plugin "lora": stage "empty": plugin unavailable: `)
			require.Contains(t, err.Error(), tt.want)
		})
	}
}

func TestProgramThatIsNotThereIsAnError(t *testing.T) {
	c := config("plugin")
	c.Command = []string{"./no-such-plugin"}
	program := start(t, c)
	require.Eventually(t, func() bool { return program.Status().Restarts >= 1 }, patience, 10*time.Millisecond)
	require.Contains(t, program.Status().Error, "no-such-plugin: no such file or directory")
}

func TestProgramThatCannotBeStartedIsNamedWithWhatWouldHelp(t *testing.T) {
	dir := t.TempDir()
	for name, file := range map[string]struct {
		content string
		mode    os.FileMode
	}{
		"plain":      {"", 0o644},
		"nothing":    {"\x00", 0o755},
		"odd-script": {"#!/no/such/python\n", 0o755},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(file.content), file.mode))
	}
	for _, tt := range []struct {
		command []string
		want    string
	}{
		{[]string{"./plain --port 1"}, "no such file or directory; write each argument as an item of its own: [./plain, --port, 1]"},
		{[]string{"odd-script"}, `executable file not found in $PATH; for the one in the folder of the file write ./odd-script`},
		{[]string{"./odd-script"}, "no such file or directory: the program is there, but not what it needs to run, such as what its first line (#!) names"},
		{[]string{"./plain"}, "permission denied; it must be a program, and executable (chmod +x)"},
		{[]string{"./nothing"}, "exec format error; a script needs a first line such as #!/bin/sh, or its interpreter in the command"},
		{[]string{"true"}, "it ended with exit status 0 before the handshake, the first line that a plugin writes"},
	} {
		c := config("plugin")
		c.Dir, c.Command = dir, tt.command
		program := start(t, c)
		require.Eventually(t, func() bool { return program.Status().Error != "" }, patience, 10*time.Millisecond)
		require.Contains(t, program.Status().Error, tt.want)
	}
}

func TestStageThatCrashesIsToldFromOneThatIsNotThere(t *testing.T) {
	for payload, want := range map[string]string{
		"exit":  `plugin "lora": stage "odd": stage crashed: plugin unavailable: it ended with exit status 7`,
		"panic": `plugin "lora": stage "odd": stage crashed: panic: odd indeed`,
		"hang":  `plugin "lora": stage "odd": stage crashed: plugin unavailable: it did not answer within 3s`,
	} {
		t.Run(payload, func(t *testing.T) {
			t.Parallel()
			c := config("plugin")
			c.Timeout = 3 * time.Second
			odd := start(t, c).Stage("odd", nil, "doors")
			for range 2 {
				_, err := process(t, odd, messages(payload))
				require.ErrorIs(t, err, stage.ErrCrashed)
				require.Contains(t, err.Error(), want)
			}
			out, err := process(t, odd, messages("fine"))
			require.NoError(t, err)
			require.Equal(t, messages("fine"), out.Messages)
		})
	}
}

// Whose messages brought the program down, where many were on their way?
func TestOnlyTheStageThatCrashesIsBlamed(t *testing.T) {
	program := start(t, config("plugin"))
	var all sync.WaitGroup
	var crashed atomic.Bool
	all.Go(func() {
		defer crashed.Store(true)
		odd := program.Stage("odd", nil, "lane")
		for crashes := 0; crashes < 3 && t.Context().Err() == nil; {
			if _, err := odd.Process(t.Context(), time.Now(), messages("exit")); errors.Is(err, stage.ErrCrashed) {
				crashes++
			}
		}
	})
	for range 3 {
		all.Go(func() {
			odd := program.Stage("odd", nil, "lane")
			for !crashed.Load() {
				if _, err := odd.Process(t.Context(), time.Now(), messages("fine")); errors.Is(err, stage.ErrCrashed) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestRubbishCountsForNothing(t *testing.T) {
	program := start(t, config("plugin"))
	odd := program.Stage("odd", nil, "doors")
	for payload, want := range map[string]string{
		"stranger":  "it sent message 1099511627776, which it was not given",
		"reorder":   `it reordered the messages of topic "a/b"`,
		"topic":     "it sent message 1 with an invalid topic: ",
		"qos":       "it sent message 1 with QoS 3; a QoS is 0, 1 or 2",
		"keep":      "it keeps message 1, of which it said something else besides",
		"supersede": "it supersedes message 1, which it does not keep",
		"huge":      "received message larger than max",
		"explode":   "it made more than 1024 messages of message 1",
	} {
		_, err := process(t, odd, messages(payload, "two"))
		require.ErrorIs(t, err, remote.ErrContract, payload)
		require.ErrorIs(t, err, stage.ErrLost, payload)
		require.Contains(t, err.Error(), `plugin "lora": stage "odd": plugin broke the contract: `)
		require.Contains(t, err.Error(), want)
		out, err := process(t, odd, messages("fine"))
		require.NoError(t, err)
		require.Equal(t, messages("fine"), out.Messages)
	}
	require.Zero(t, program.Status().Restarts)
}

func TestProgramThatEatsMemoryIsKilled(t *testing.T) {
	c := config("plugin")
	c.Memory = 200 << 20
	program := start(t, c)
	odd := program.Stage("odd", nil, "doors")
	_, err := process(t, odd, messages("eat"))
	require.ErrorIs(t, err, stage.ErrCrashed)
	require.Regexp(t, `it used \d+ MiB of memory, and may use 200 MiB; raise memory where it needs more`, err.Error())
	_, err = process(t, odd, messages("fine"))
	require.NoError(t, err)
}

func TestFloodIsLoggedWithinBounds(t *testing.T) {
	log := &syncBuffer{}
	program := startLogged(t, config("plugin"), slog.New(slog.NewTextHandler(log, nil)))
	odd := program.Stage("odd", nil, "doors")
	out, err := process(t, odd, messages("flood"))
	require.NoError(t, err)
	require.Equal(t, messages("flood"), out.Messages)
	require.Eventually(t, func() bool { return program.Status().LinesSkipped > 10000 }, patience, 10*time.Millisecond)
	require.Less(t, log.Len(), 2<<20)
}

func TestOutputIsLoggedByLines(t *testing.T) {
	log := &syncBuffer{}
	program := startLogged(t, config("plugin"), slog.New(slog.NewTextHandler(log, nil)))
	_, err := process(t, program.Stage("odd", nil, "doors"), messages("print"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return strings.Contains(log.String(), "level=INFO msg=printed plugin=lora stream=stdout") &&
			strings.Contains(log.String(), "level=WARN msg=logged plugin=lora fields=\"map[instance:doors key:value type:odd]\" stream=stderr")
	}, patience, 10*time.Millisecond, "%v", log)
}

func TestProgramThatIgnoresEverySignalIsKilled(t *testing.T) {
	program, err := remote.New(config("stubborn"), discard)
	require.NoError(t, err)
	require.NoError(t, program.Start(t.Context()))
	_, err = process(t, program.Stage("empty", nil, "doors"), nil)
	require.NoError(t, err)
	pid := program.Status().PID
	require.True(t, alive(pid))
	require.NoError(t, program.Close())
	require.False(t, alive(pid))
	require.Equal(t, remote.Stopped, program.Status().State)
	_, err = program.Stage("empty", nil, "doors").Process(t.Context(), time.Now(), nil)
	require.ErrorIs(t, err, remote.ErrUnavailable)
}

func TestWhatAProgramHasStartedEndsWithIt(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, program *remote.Program){
		"closed": func(t *testing.T, program *remote.Program) { require.NoError(t, program.Close()) },
		"killed": func(t *testing.T, program *remote.Program) {
			require.NoError(t, syscall.Kill(program.Status().PID, syscall.SIGKILL))
		},
	} {
		t.Run(name, func(t *testing.T) {
			program, err := remote.New(config("plugin"), discard)
			require.NoError(t, err)
			require.NoError(t, program.Start(t.Context()))
			out, err := process(t, program.Stage("odd", nil, "doors"), messages("fork"))
			require.NoError(t, err)
			child, err := strconv.Atoi(string(out.Messages[0].Payload))
			require.NoError(t, err)
			require.True(t, alive(child))
			end(t, program)
			require.Eventually(t, func() bool { return !alive(child) }, patience, 10*time.Millisecond)
			require.NoError(t, program.Close())
		})
	}
}

func TestNoOrphanIsLeftWhenTheNodeIsKilled(t *testing.T) {
	temporary, err := os.MkdirTemp("", "weft") // shorter than t.TempDir
	require.NoError(t, err)
	defer os.RemoveAll(temporary)
	node := exec.Command(os.Args[0], "as", "node")
	node.Env = append(os.Environ(), "TMPDIR="+temporary)
	stdin, err := node.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	stdout, err := node.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, node.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	var plugin, child int
	_, err = fmt.Sscan(line, &plugin, &child)
	require.NoError(t, err, line)
	require.True(t, alive(plugin))
	require.True(t, alive(child))
	require.NoError(t, node.Process.Kill())
	_ = node.Wait()
	require.Eventually(t, func() bool { return !alive(plugin) && !alive(child) }, patience, 10*time.Millisecond)
	left, err := os.ReadDir(temporary)
	require.NoError(t, err)
	require.Empty(t, left)
}

// alive says whether a process runs; one that has ended may wait for its parent to notice.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func (b *syncBuffer) Len() int { return len(b.String()) }

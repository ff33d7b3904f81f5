package remote_test

import (
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/remote"
)

func TestStageOutOfProcessDoesWhatItWouldInside(t *testing.T) {
	program := start(t, config("plugin"))
	empty := program.Stage("empty", nil, "doors")
	in := messages("one", "", "three")
	in[1].Retain, in[2].QoS = true, 2
	for range 3 {
		out, err := process(t, empty, in)
		require.NoError(t, err)
		require.Equal(t, stage.Output{Messages: in}, out)
	}
	out, err := process(t, empty, nil)
	require.NoError(t, err)
	require.Zero(t, out)

	odd := program.Stage("odd", nil, "doors")
	out, err = process(t, odd, messages("split", "two"))
	require.NoError(t, err)
	require.Equal(t, []stage.Message{mqttMessage(1, "a/b", "half"), mqttMessage(1, "a/b", "half")}, out.Messages)
	out, err = process(t, odd, messages("change"))
	require.NoError(t, err)
	want := mqttMessage(1, "new/a/b", "")
	want.QoS, want.Retain = 0, true
	require.Equal(t, []stage.Message{want}, out.Messages)
	out, err = process(t, odd, messages("refuse", "two"))
	require.NoError(t, err)
	require.Equal(t, stage.Output{Messages: messages("", "two")[1:], Refused: []stage.Refusal{{ID: 1, Reason: "no checksum"}}}, out)
	_, err = process(t, odd, messages("error bob"))
	require.EqualError(t, err, `plugin "lora": stage "odd": no key for bob`)
	require.NoError(t, odd.Close())
}

func TestOneProgramServesManyStagesAtATime(t *testing.T) {
	program := start(t, config("plugin"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			kept := program.Stage("keep", []byte(`{"every": "1h"}`), "lane")
			for range 20 {
				out, err := process(t, kept, messages("one", "two"))
				if !(err == nil && len(out.Kept) == 2) {
					t.Errorf("%v %v", out, err)
				}
				if out, err = process(t, kept, []stage.Message{mqttMessage(3, "a/b", "go")}); err != nil || len(out.Messages) != 2 {
					t.Errorf("%v %v", out, err)
				}
			}
		})
	}
	all.Wait()
}

func TestKeptMessagesGoOnOrAreLost(t *testing.T) {
	program := start(t, config("plugin"))
	keep := program.Stage("keep", nil, "doors")
	out, err := process(t, keep, messages("one", "two"))
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2}, out.Kept)
	require.False(t, out.Again.IsZero())
	out, err = process(t, keep, []stage.Message{mqttMessage(3, "a/b", "go")})
	require.NoError(t, err)
	require.Equal(t, stage.Output{Messages: messages("one", "two")}, out)

	out, err = process(t, keep, messages("one", "two"))
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2}, out.Kept)
	_, err = process(t, keep, []stage.Message{mqttMessage(3, "a/b", "die")})
	require.ErrorIs(t, err, stage.ErrCrashed)
	out, err = process(t, keep, []stage.Message{mqttMessage(4, "a/b", "go")})
	require.NoError(t, err)
	require.Empty(t, out.Messages, "the new stage has not been given what was kept")
}

func TestStageIsLostWithAProgramThatEndsBetweenCalls(t *testing.T) {
	program := start(t, config("plugin"))
	empty := program.Stage("empty", nil, "doors")
	_, err := process(t, empty, messages("one"))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(program.Status().PID, syscall.SIGKILL))
	require.Eventually(t, func() bool { return program.Status().Restarts == 1 }, patience, 10*time.Millisecond)
	_, err = empty.Process(t.Context(), time.Now(), messages("one"))
	require.ErrorIs(t, err, stage.ErrLost)
	require.NotErrorIs(t, err, stage.ErrCrashed)
	_, err = process(t, empty, messages("one"))
	require.NoError(t, err)
}

func TestOptionsThatThePluginRefusesAreAnError(t *testing.T) {
	program := start(t, config("plugin"))
	_, err := process(t, program.Stage("keep", []byte(`{"text": "bad", "evry": 1}`), "doors"), messages("one"))
	require.EqualError(t, err, `plugin "lora": stage "keep": open: evry: unknown key; did you mean "every"?`+"\ntext: bad is bad; write good")
	_, err = process(t, program.Stage("nix", nil, "doors"), messages("one"))
	require.EqualError(t, err, `plugin "lora": stage "nix": unknown stage "nix"; known here: empty, keep, odd`)
}

func TestDescribeTellsTypesAndOptionsWithoutStarting(t *testing.T) {
	program, err := remote.New(config("plugin"), discard)
	require.NoError(t, err)
	d, err := program.Describe(t.Context())
	require.NoError(t, err)
	require.Equal(t, remote.Type{Kind: remote.KindStage, Name: "empty", Comment: "passes everything on", Options: []remote.Option{}}, d.Types[0])
	keep, err := d.Type(remote.KindStage, "keep")
	require.NoError(t, err)
	require.Equal(t, []remote.Option{{Key: "text", Type: "text"}, {Key: "every", Type: "duration", Default: "1m"}}, keep.Options)
	require.NoError(t, keep.Check([]byte(`{"text": "x", "every": "10s"}`)))
	require.EqualError(t, keep.Check([]byte(`{"txt": "x", "every": true}`)),
		"every: true is not a duration, such as 10s\ntxt: unknown key; known here: every, text")
	require.Equal(t, remote.Stopped, program.Status().State)

	c := config("exits")
	program, err = remote.New(c, discard)
	require.NoError(t, err)
	_, err = program.Describe(t.Context())
	require.EqualError(t, err, `plugin "lora": it ended with exit status 3: panic: no modem`)
}

func TestPluginChecksOptions(t *testing.T) {
	program, err := remote.New(config("plugin"), discard)
	require.NoError(t, err)
	require.NoError(t, program.Try(t.Context(), func(p *remote.Program) error {
		require.NoError(t, p.Check(t.Context(), remote.KindStage, "keep", []byte(`{"text": "good"}`)))
		require.EqualError(t, p.Check(t.Context(), remote.KindStage, "keep", []byte(`{"text": "bad", "every": "1"}`)),
			"every: \"1\" has no unit; write 1ms, 1s, 1m or 1h\ntext: bad is bad; write good")
		return nil
	}))
}

func TestPluginGetsNothingOfTheNodesSecrets(t *testing.T) {
	t.Setenv("BROKER_PASSWORD", "hush")
	c := config("plugin")
	c.Env = map[string]string{"MODEM": "/dev/ttyUSB0"}
	out, err := process(t, start(t, c).Stage("odd", nil, "doors"), messages("env"))
	require.NoError(t, err)
	require.Contains(t, string(out.Messages[0].Payload), "MODEM=/dev/ttyUSB0")
	require.Contains(t, string(out.Messages[0].Payload), "PATH="+os.Getenv("PATH"))
	require.NotContains(t, string(out.Messages[0].Payload), "hush")
}

func TestStatusNamesTheProgram(t *testing.T) {
	program := start(t, config("plugin"))
	_, err := process(t, program.Stage("empty", nil, "doors"), nil)
	require.NoError(t, err)
	status := program.Status()
	require.Equal(t, remote.Running, status.State)
	require.Equal(t, "lora", status.Name)
	require.NotZero(t, status.PID)
	require.False(t, status.Since.IsZero())
	require.Eventually(t, func() bool { return program.Status().Memory > 1<<20 }, patience, 10*time.Millisecond)
}

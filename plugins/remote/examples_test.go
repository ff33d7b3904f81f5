package remote_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/remote"
)

// Does the example in Go, a module of its own, do as its comments say?
func TestGoExample(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "goplugin")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, ".")
	build.Dir, build.Env = "../examples/goplugin", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s\nif go.mod has changed: go mod tidy in plugins/examples/goplugin", out)

	alone, err := exec.Command(bin).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(alone), "This program is a plugin of weft, which starts it.")

	program := start(t, command(bin))
	decode := program.Stage("decode", []byte(`{"unit": "fahrenheit", "suffix": "/json"}`), "doors")
	got, err := process(t, decode, messages("\x00\xd7", "odd"))
	require.NoError(t, err)
	require.Equal(t, []stage.Message{mqttMessage(1, "a/b/json", `{"fahrenheit":70.7}`)}, got.Messages)
	require.Equal(t, []stage.Refusal{{ID: 2, Reason: "a reading has two bytes"}}, got.Refused)

	d, err := program.Describe(t.Context())
	require.NoError(t, err)
	require.Equal(t, "goplugin", d.Name)
	require.Equal(t, []remote.Option{
		{Key: "unit", Type: "text", Default: "celsius", Comment: "celsius or fahrenheit"},
		{Key: "suffix", Type: "text", Comment: "put after the topic"},
	}, d.Types[0].Options)
	require.EqualError(t, program.Check(t.Context(), remote.KindStage, "decode", []byte(`{"unit": "kelvin"}`)),
		`unit: unknown unit "kelvin"; write celsius or fahrenheit`)
}

// Does the example in JavaScript do as its comments say?
func TestNodeExample(t *testing.T) {
	const dir = "../examples/nodeplugin"
	node, err := exec.LookPath("node")
	require.NoError(t, err, "this test needs node and npm; .ci/tools installs them")
	if installed, err := os.ReadFile(filepath.Join(dir, "node_modules/.package-lock.json")); err != nil || len(installed) == 0 {
		install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		install.Dir = dir
		out, err := install.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	c := command(node, "plugin.js")
	c.Dir, c.Memory = dir, 512<<20
	program := start(t, c)
	number := program.Stage("number", []byte(`{"key": "count"}`), "doors")
	got, err := process(t, number, messages(`{"open": true}`, "no JSON", `{"open": false}`))
	require.NoError(t, err)
	require.Equal(t, stage.Output{Messages: []stage.Message{
		mqttMessage(1, "a/b", `{"open":true,"count":1}`), mqttMessage(3, "a/b", `{"open":false,"count":2}`),
	}}, got)

	_, err = process(t, program.Stage("number", []byte(`{"key": ""}`), "doors"), messages("one"))
	require.EqualError(t, err, `plugin "lora": stage "number": open: key: empty; write a name, such as n`)
	require.EqualError(t, program.Check(t.Context(), remote.KindStage, "number", []byte(`{"key": ""}`)), "key: empty; write a name, such as n")
	d, err := program.Describe(t.Context())
	require.NoError(t, err)
	require.Equal(t, remote.Option{Key: "key", Type: "text", Default: "n", Comment: "key that the number is put under"}, d.Types[0].Options[0])
	require.Equal(t, "1.0.0", d.Version)
}

func command(words ...string) remote.Config {
	c := config("")
	c.Command = words
	return c
}

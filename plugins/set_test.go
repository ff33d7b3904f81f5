package plugins_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins"
	"github.com/weft-relay/weft/transports"
)

// tag is a stage of somebody's own: it writes a word before each payload.
type tag struct{ tagConfig }

type tagConfig struct {
	Word  string  `yaml:"word" doc:"goes first"`
	Share float64 `yaml:"share"`
}

func (c *tagConfig) SetDefaults() { c.Word = "!" }

func newTag(c tagConfig, _ *slog.Logger) (*tag, error) {
	if c.Share > 1 {
		return nil, errors.New("share: more than 1; write 0 to 1")
	}
	return &tag{c}, nil
}

func (t *tag) Process(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	for i := range in {
		in[i].Payload = append([]byte(t.Word), in[i].Payload...)
	}
	return stage.Output{Messages: in}, nil
}

// radio is a transport of somebody's own that wants to know the node.
type radio struct{ node transports.Node }

type radioConfig struct {
	Port int `yaml:"port"`
	node transports.Node
}

func (c *radioConfig) SetNode(n transports.Node) { c.node = n }

func newRadio(c radioConfig, _ *slog.Logger) (*radio, error) { return &radio{c.node}, nil }

func (*radio) Start(context.Context) error { return nil }
func (*radio) Close() error                { return nil }
func (*radio) Report() transports.Report   { return transports.Report{} }

// lark is a radio whose network proves names.
type lark struct{ radio }

func (*lark) ShowWishes(context.Context, []string) error                    { return nil }
func (*lark) WatchWishes(context.Context) (<-chan transports.Wishes, error) { return nil, nil }

func newLark(struct{}, *slog.Logger) (*lark, error) { return &lark{}, nil }

// Configurations that no file could be read into.
type (
	oddConfig struct {
		F func() `yaml:"f"`
	}
	takenConfig struct {
		T string `yaml:"type"`
	}
	endlessConfig struct {
		Next []endlessConfig `yaml:"next"`
	}
)

func newOdd(oddConfig, *slog.Logger) (*tag, error)         { return nil, nil }
func newTaken(takenConfig, *slog.Logger) (*tag, error)     { return nil, nil }
func newEndless(endlessConfig, *slog.Logger) (*tag, error) { return nil, nil }

func TestOwnStagesAreToldWhatTheFileSays(t *testing.T) {
	own, err := plugins.New(plugins.Stage("tag", newTag))
	require.NoError(t, err)
	file, err := configs.Parse("weft.yaml", []byte(`
node: alice
transports: {hub: {type: nats, url: "nats://127.0.0.1:4222"}}
subscribe: ["a/#", {filter: "b/#", stages: tag}]
routes: [{name: doors, match: "doors/#", mode: broadcast, stages: [{type: tag, word: "1"}, {type: tag, word: "2", share: 0.5}]}]
`), own.Types())
	require.NoError(t, err)
	require.NoError(t, own.Check(t.Context(), file))
	steps, err := own.Stages(file, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	run := func(steps []stage.Step) string {
		messages := []stage.Message{{ID: 1, Topic: "a", Payload: []byte("x")}}
		for _, step := range steps {
			require.Equal(t, "tag", step.Name)
			s, err := step.New()
			require.NoError(t, err)
			out, err := s.Process(t.Context(), time.Now(), messages)
			require.NoError(t, err)
			messages = out.Messages
		}
		return string(messages[0].Payload)
	}
	require.Equal(t, "21x", run(steps.Routes["doors"]))
	require.Len(t, steps.Routes, 1)
	require.Len(t, steps.Subscribe, 2)
	require.Empty(t, steps.Subscribe[0])
	require.Equal(t, "!x", run(steps.Subscribe[1]))
}

func TestStagesThatCannotBeBuiltAreReportedWhereTheyStand(t *testing.T) {
	own, err := plugins.New(plugins.Stage("tag", newTag))
	require.NoError(t, err)
	file, err := configs.Parse("weft.yaml", []byte(`
node: alice
transports: {hub: {type: nats, url: "nats://127.0.0.1:4222"}}
subscribe: [{filter: "b/#", stages: [tag, {type: tag, share: 2}]}]
routes:
  - name: doors
    match: "doors/#"
    mode: broadcast
    stages:
      - tag
      - type: tag
        share: 3
`), own.Types())
	require.NoError(t, err)
	require.EqualError(t, own.Check(t.Context(), file), `weft.yaml:12: routes[0].stages[1].share: more than 1; write 0 to 1
weft.yaml:4: subscribe[0].stages[1].share: more than 1; write 0 to 1`)
}

func TestOwnTransportsAreToldOfTheNode(t *testing.T) {
	own, err := plugins.New(plugins.Transport("radio", newRadio), plugins.Transport("lark", newLark))
	require.NoError(t, err)
	dir := t.TempDir()
	file, err := configs.Parse(filepath.Join(dir, "weft.yaml"), []byte(`
node: alice
peers:
  - {name: bob, key: "ed25519:zswVB9wd3XKVlRwpCIjwla25BE0bc9aW5t8GXWg71Pw", at: {air: b}}
  - {name: carol, at: {song: c}}
transports: {air: {type: radio, port: 3}, song: {type: lark}}
routes: [{name: doors, match: "doors/#", to: song}]
`), own.Types())
	require.NoError(t, err, "over a network that proves names a peer needs no key")
	built, err := own.Transports(file, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	node := built["air"].(*radio).node
	require.Equal(t, "alice", node.Name)
	require.Equal(t, []string{"b"}, node.Names(), "carol has no key, and is not reached over it")
	require.Equal(t, file.Node.Peers[0].Key, node.Peers[0].Key)
	require.Equal(t, filepath.Join(dir, "alice", "transport-air"), node.DataDir)
	key, err := node.Key()
	require.NoError(t, err)
	require.NotEmpty(t, key)
}

func TestPluginsThatNoFileCouldUseAreRefused(t *testing.T) {
	_, err := plugins.New(
		plugins.Stage("tag", newTag), plugins.Stage("tag", newTag), plugins.Stage("Tag", newTag), plugins.Transport("nats", newRadio),
		plugins.Stage("nats", newTag), plugins.Stage("odd", newOdd), plugins.Stage("taken", newTaken), plugins.Stage("endless", newEndless),
	)
	require.ErrorContains(t, err, `stage "tag" is there already; give this one another name`)
	require.ErrorContains(t, err, `stage "Tag": no name of a type`)
	require.ErrorContains(t, err, `transport "nats" is there already`)
	require.ErrorContains(t, err, `stage odd: there is no notation for the Go type func()`)
	require.ErrorContains(t, err, `stage taken: plugins_test.takenConfig has the key type, which names what is configured; call it otherwise`)
	require.ErrorContains(t, err, `stage endless: plugins_test.endlessConfig holds itself`)
	require.NotContains(t, err.Error(), `stage "nats"`, "a stage may have the name of a transport")
}

func TestDescriptionsSayWhereTheFileUsesAPlugin(t *testing.T) {
	own, err := plugins.New(plugins.Stage("tag", newTag))
	require.NoError(t, err)
	file, err := configs.Parse("weft.yaml", []byte(`
node: alice
transports: {hub: {type: nats, url: "nats://127.0.0.1:4222"}}
subscribe: ["a/#", {filter: "b/#", stages: tag}]
routes: [{name: doors, match: "doors/#", mode: broadcast, stages: [tag, tag]}]
`), own.Types())
	require.NoError(t, err)
	all := own.Describe(file)
	last := all[len(all)-1]
	require.False(t, last.BuiltIn)
	require.Equal(t, []string{"routes[0].stages[0]", "routes[0].stages[1]", "subscribe[1].stages[0]"}, last.UsedBy)
	require.Equal(t, "github.com/weft-relay/weft/plugins_test", last.Package)
	require.Equal(t, []configs.Key{
		{Path: "word", Type: "text", Default: "!", Doc: "goes first"}, {Path: "share", Type: "number", Default: "0"},
	}, last.Options)
	require.Equal(t, []string{"transports.hub"}, all[0].UsedBy)
	require.True(t, all[0].BuiltIn)
}

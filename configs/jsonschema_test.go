package configs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/weft-relay/weft/configs"
)

// schema is the compiled schema of what the files of these tests may use.
func schema(t *testing.T) *jsonschema.Schema {
	text, err := json.Marshal(configs.Schema(types))
	require.NoError(t, err)
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("weft.schema.json", parsed))
	compiled, err := compiler.Compile("weft.schema.json")
	require.NoError(t, err)
	return compiled
}

// conforms says why an editor with the schema would mark something in the file.
func conforms(s *jsonschema.Schema, text string) error {
	var content any
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		return err
	}
	asJSON, err := json.Marshal(content)
	if err != nil {
		return err
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	return errors.Join(err, s.Validate(plain))
}

// Files that are wrong in what they say, and not in their shape.
var wellShaped = []string{
	"bad-addresses", "bad-environment", "bad-files", "bad-keys", "bad-nameless-peer", "bad-nothing", "bad-plugin-of-none", "bad-reach",
	"bad-references-to-nothing", "bad-stages-overlap", "bad-transport-keys", "bad-two-documents",
}

func TestSchemaTellsFilesOfTheRightShapeFromOthers(t *testing.T) {
	s := schema(t)
	paths, err := filepath.Glob("testdata/golden/*.txt")
	require.NoError(t, err)
	for _, path := range paths {
		pair, err := os.ReadFile(path)
		require.NoError(t, err)
		input, _, _ := strings.Cut(string(pair), dashes)
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		if err := conforms(s, input); strings.HasPrefix(name, "bad-") && !slices.Contains(wellShaped, name) {
			require.Error(t, err, path)
		} else {
			require.NoError(t, err, path)
		}
	}
}

func TestSchemaKnowsEachNotation(t *testing.T) {
	s := schema(t)
	for _, text := range []string{
		"node: alice", "{node: 7, data_dir: true}", "{node: a, subscribe: doors}", "{node: a, subscribe: [a, {filter: b, from: bob}]}",
		"{node: a, routes: [{batch: {count: 5, period: 0}}, {batch: {count: '5', period: 1d12h, bytes: 16 KiB}}, {batch: {count: '${N}'}}]}",
		"{node: a, routes: [{qos: 1, mode: direct}, {qos: '1', mode: '${MODE:direct}'}], peers: [{at: {bird: b}}]}",
		"{node: a, routes: [{batch: {period: 1m30s, bytes: 4096}, queue: }], transports: , admin: }",
		"{node: a, transports: {hub: {type: cable, limit: '${LIMIT}', timeout: .5s, servers: [a, b]}, bird: {type: bird}}}",
		"{node: a, routes: [{stages: sieve}, {stages: [sieve, {type: press, force: -3}]}], subscribe: [{stages: [{type: sieve, mesh: 0}]}]}",
	} {
		require.NoError(t, conforms(s, text), text)
	}
	for _, text := range []string{
		"{}", "[]", "{node: [a]}", "{node: }", "{node: a, nodes: b}", "{node: a, subscribe: {filter: b}}", "{node: a, subscribe: [[a]]}",
		"{node: a, routes: [{batch: {count: five}}]}", "{node: a, routes: [{batch: {period: 5}}]}", "{node: a, routes: [{batch: {period: 5 s}}]}",
		"{node: a, routes: [{batch: {bytes: 16kib}}]}", "{node: a, routes: [{qos: 3}]}", "{node: a, routes: [{mode: directly}]}", "{node: a, routes: [~]}",
		"{node: a, transports: {hub: cable}}", "{node: a, transports: {hub: {type: bird, url: x}}}", "{node: a, transports: {hub: {url: x}}}",
		"{node: a, transports: {The Hub: {type: bird}}}", "{node: a, routes: [{stages: sifter}]}", "{node: a, routes: [{stages: [{mesh: 1h}]}]}",
		"{node: a, routes: [{stages: [{type: press, mesh: 1h}]}]}", "{node: a, routes: [{stages: {type: press}}]}", "{node: a, peers: [{at: [b]}]}",
	} {
		require.Error(t, conforms(s, text), text)
	}
}

// Does the schema know the durations and sizes that the loader does, and no others?
func TestSchemaReadsUnitsAsTheLoaderDoes(t *testing.T) {
	s := schema(t)
	for key, texts := range map[string][]string{
		"timeout": {"0", "0s", "500ms", "2s", "1m30s", "72h", "3d", "1d12h", "1.5s", ".5s", "1.s", "2", "-2s", "1.5", "s", "d", "x", "2 s", "2S", "-1d", "1d-12h", "1d1d", "1.5d", "0x2s", "1e3"},
		"limit":   {"0", "4096", "1B", "16KiB", "16 KiB", "1kB", "1KB", "1MB", "2GiB", "1TiB", "-1", "1.5GiB", "16kib", "16K", "KiB", "1 2KiB"},
	} {
		for _, text := range texts {
			_, loadErr := parseCable(key + ": " + text)
			err := conforms(s, "node: a\ntransports: {hub: {type: cable, url: x, "+key+": "+text+"}}")
			require.Equal(t, loadErr == nil, err == nil, "%s: %s: %v, %v", key, text, loadErr, err)
		}
	}
}

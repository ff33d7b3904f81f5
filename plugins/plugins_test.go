package plugins_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/plugins"
)

// set is what is built in.
var set, _ = plugins.New()

// Does every example file load, and can everything in it be built?
func TestExampleFilesAreValid(t *testing.T) {
	paths, err := filepath.Glob("../configs/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		file, err := set.Load(path)
		require.NoError(t, err)
		require.Equal(t, strings.TrimSuffix(filepath.Base(path), ".yaml"), file.Node.Node)
		require.NoError(t, set.Check(t.Context(), file))
	}
}

var fence = regexp.MustCompile("(?ms)^```ya?ml\n(.*?)^```")

// Does every example of a configuration in the documentation load, and can everything in it be built?
func TestExamplesInTheDocumentationAreValid(t *testing.T) {
	t.Setenv("NATS_PASSWORD", "s3cret")
	t.Setenv("MESH_KEY", strings.Repeat("0f", 32))
	found := 0
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../*/README.md", "../*/*/README.md"} {
		paths, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			for _, example := range fence.FindAllStringSubmatch(string(text), -1) {
				found++
				config := example[1]
				if !strings.Contains(config, "node:") { // the part that the text is about
					config = "node: example\n" + config
				}
				file, err := configs.Parse(path, []byte(config), set.Types())
				require.NoError(t, err, "%s:\n%s", path, config)
				require.NoError(t, set.Check(t.Context(), file), "%s:\n%s", path, config)
			}
		}
	}
	require.GreaterOrEqual(t, found, 2)
}

var row = regexp.MustCompile("(?m)^(?:### (type|stage): ([a-z_]+)|\\| `([^`]+)` \\|([^|]*)\\| (.*) \\|$)")

var markup = regexp.MustCompile("`|\\]\\([^)]*\\)|\\[")

// Does docs/config.md name every key, no other, with the right default, and in the words that the schema and `weft plugins` have?
func TestDocumentationNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile("../docs/config.md")
	require.NoError(t, err)
	documented := map[string][2]string{}
	_, sections, found := strings.Cut(string(text), "\n## Node\n")
	require.True(t, found)
	general := map[string]string{"type": "transports.NAME", "stage": "stages[]"}
	var before, after string
	for _, line := range row.FindAllStringSubmatch(sections, -1) {
		if line[1] != "" {
			before, after = general[line[1]], general[line[1]]+"("+line[2]+")"
			continue
		}
		key := line[3]
		if rest, ok := strings.CutPrefix(key, before); ok && before != "" {
			key = after + rest
		}
		documented[key] = [2]string{strings.Trim(line[4], " `"), markup.ReplaceAllString(line[5], "")}
	}
	for _, key := range set.Keys() {
		row, is := documented[key.Path]
		require.True(t, is, "%s is not in docs/config.md", key.Path)
		if key.Default != "" {
			require.Equal(t, key.Default, row[0], key.Path)
		}
		require.NotEmpty(t, key.Doc, "%s has no doc tag", key.Path)
		require.Contains(t, row[1], key.Doc, key.Path)
		for _, word := range key.Values {
			require.Contains(t, row[0]+" "+row[1], word, key.Path)
		}
		delete(documented, key.Path)
	}
	require.Empty(t, documented, "docs/config.md has keys that do not exist")
}

var update = flag.Bool("update", false, "write what is refused now into the golden files")

const dashes = "----------\n"

// TestRefusalsOfWhatIsBuiltIn reads testdata/*.txt: a configuration file, a line of dashes, and everything that is wrong
// with what it tells a broker or a transport.
func TestRefusalsOfWhatIsBuiltIn(t *testing.T) {
	t.Setenv("WEFT_PASSWORD", "s3cret")
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		pair, err := os.ReadFile(path)
		require.NoError(t, err)
		input, want, found := strings.Cut(string(pair), dashes)
		require.True(t, found, "no line of dashes in %s", path)
		file, err := configs.Parse("weft.yaml", []byte(input), set.Types())
		if err == nil {
			err = set.Check(t.Context(), file)
		}
		require.Error(t, err, path)
		here, absErr := filepath.Abs(".")
		require.NoError(t, absErr)
		if got := strings.ReplaceAll(err.Error(), here+"/", "") + "\n"; *update {
			require.NoError(t, os.WriteFile(path, []byte(input+dashes+got), 0o644))
		} else {
			require.Equal(t, want, got, path)
		}
		require.NotContains(t, err.Error(), "s3cret")
	}
}

func TestSecretsAndFilesOfWhatIsBuiltIn(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "password"), []byte("s3cret\n"), 0o600))
	file, err := configs.Parse(filepath.Join(dir, "weft.yaml"), []byte(`
node: alice
broker: {url: "mqtt://127.0.0.1:1883", password: "file:password"}
`), set.Types())
	require.NoError(t, err)
	require.Equal(t, "s3cret", file.Broker.(*plugins.Broker).Password)
}

func TestDeliveryAtMostOnceIsWarnedOf(t *testing.T) {
	for config, keys := range map[string][]string{
		"": nil, ", receipts: on": nil, ", receipts: off": {"transports.bird.receipts"}, ", format: seed": {"transports.bird.format"},
	} {
		file, err := configs.Parse("weft.yaml", []byte(`
node: alice
transports: {bird: {type: twister, url: "http://user:s3cret@127.0.0.1:28332", user: alice`+config+`}}
`), set.Types())
		require.NoError(t, err)
		var found []string
		for _, w := range set.Warnings(file) {
			require.ErrorContains(t, w, "at most once")
			found = append(found, w.Key)
		}
		require.Equal(t, keys, found, config)
	}
}

func TestFiltersForWhichATwisterProfileHasNoRoomAreRefused(t *testing.T) {
	check := func(subscriptions string) error {
		file, err := configs.Parse("weft.yaml", []byte(`
node: alice
peers:
  - {name: bob, at: {bird: mqtt_bob}}
  - {name: carol, at: {lark: carol}}
subscribe: [`+subscriptions+`]
transports:
  bird: {type: twister, url: "http://user:s3cret@127.0.0.1:28332", user: mqtt_alice}
  lark: {type: twister, url: "http://user:s3cret@127.0.0.1:28332", user: other}
`), set.Types())
		require.NoError(t, err)
		return set.Check(t.Context(), file)
	}
	long := strings.Repeat("x", 4050)
	require.NoError(t, check(`"`+long+`"`))
	require.NoError(t, check(`{filter: "`+long+`", from: bob}, {filter: "`+long+`/#", from: carol}`), "each profile has room for its own")
	err := check(`"` + long + `", {filter: "` + long + `/#", from: bob}`)
	require.ErrorContains(t, err, "weft.yaml:6: subscribe: transport bird: filters of ")
	require.NotContains(t, err.Error(), "lark")
}

// Files that a mesh runs with, and that can hardly be meant.
func TestMeshThatNobodyFindsIsWarnedOf(t *testing.T) {
	const node = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
	const quic = "/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
	secret := strings.Repeat("0f", 32)
	for config, keys := range map[string][]string{
		"":                                 nil,
		", listen: [], bootstrap: " + node: nil,
		", listen: []":                     {"transports.mesh.listen"},
		", listen: [], relay: {serve: true}, bootstrap: " + node:                                  {"transports.mesh.relay.serve"},
		", network_key: " + secret:                                                                nil,
		", network_key: " + secret + ", bootstrap: [" + node + ", " + quic + "], relays: " + quic: {"transports.mesh.bootstrap[1]", "transports.mesh.relays[0]"},
	} {
		file, err := configs.Parse("weft.yaml", []byte("node: alice\ntransports: {mesh: {type: kademlia"+config+"}}\n"), set.Types())
		require.NoError(t, err, config)
		var found []string
		for _, w := range set.Warnings(file) {
			require.Equal(t, 2, w.Line)
			require.NotContains(t, w.Text, secret)
			found = append(found, w.Key)
		}
		require.Equal(t, keys, found, config)
	}
}

func TestPeersWithoutATransportAreJoinedByAMesh(t *testing.T) {
	file, err := configs.Parse("weft.yaml", []byte(`
node: alice
peers: [{name: bob, key: "ed25519:zswVB9wd3XKVlRwpCIjwla25BE0bc9aW5t8GXWg71Pw"}]
routes: [{name: doors, match: ["doors/#"]}]
`), set.Types())
	require.NoError(t, err)
	require.Equal(t, "[mesh (kademlia)]", fmt.Sprint(file.Transports))
	require.Equal(t, "mesh", file.Node.Routes[0].To)
	require.NoError(t, set.Check(t.Context(), file))

	file, err = configs.Parse("weft.yaml", []byte("node: alice"), set.Types())
	require.NoError(t, err)
	require.Empty(t, file.Transports, "nobody to talk to, and so nothing to listen on")
}

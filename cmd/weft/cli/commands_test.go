package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/cmd/weft/cli"
)

// result is what one command line left.
type result struct {
	status   int
	out, err string
}

func run(t *testing.T, args ...string) result {
	t.Helper()
	return runWith(t.Context(), "", args...)
}

func runWith(ctx context.Context, in string, args ...string) result {
	var out, errOut bytes.Buffer
	status := cli.Execute(ctx, args, strings.NewReader(in), &out, &errOut)
	return result{status, out.String(), errOut.String()}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestInitWritesAFileThatCheckPasses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	path := filepath.Join(dir, "weft.yaml")
	made := run(t, "init", "--node", "alice", dir)
	require.Zero(t, made.status, made.err)
	require.Equal(t, result{0, path + ": ok\n", ""}, run(t, "check", path))
	id := run(t, "id", "-c", path)
	require.Contains(t, made.out, strings.TrimSpace(id.out), "init shows the identity that it has made")

	again := run(t, "init", dir)
	require.Equal(t, 1, again.status)
	require.Contains(t, again.err, path+" is there already")
	require.Equal(t, id, run(t, "id", "-c", path))
}

// Is what init offers to uncomment right too?
func TestInitOffersValidKeys(t *testing.T) {
	dir := t.TempDir()
	require.Zero(t, run(t, "init", "--node", "alice", dir).status)
	path := filepath.Join(dir, "weft.yaml")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	offered := regexp.MustCompile(`(?m)^( *)#(\S|  )`).ReplaceAllString(string(text), "$1$2")
	offered = regexp.MustCompile(`(?m)^[a-z]+: [\[{][\]}]\n`).ReplaceAllString(offered, "")
	require.Contains(t, offered, "\n  - {name: doors")
	require.NoError(t, os.WriteFile(path, []byte(offered), 0o600))
	checked := run(t, "check", path)
	require.Equal(t, result{0, path + ": ok\n", ""}, checked)
}

func TestInitWritesTheFileThatCNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sites", "bob.yaml")
	made := run(t, "init", "--node", "bob", "-c", path)
	require.Zero(t, made.status, made.err)
	require.Contains(t, made.out, "weft run -c "+path)
	require.Equal(t, result{0, path + ": ok\n", ""}, run(t, "check", path))
	require.FileExists(t, filepath.Join(filepath.Dir(path), "bob", "identity.key"))
	both := run(t, "init", "-c", path, t.TempDir())
	require.Equal(t, 2, both.status)
	require.Contains(t, both.err, "give the file or its folder")
}

func TestInitTakesTheNameOfTheMachine(t *testing.T) {
	made := run(t, "init", t.TempDir())
	require.Zero(t, made.status, made.err)
	require.Regexp(t, `\{name: [a-z0-9_-]{1,32}, key: "ed25519:`, made.out)
	bad := run(t, "init", "--node", "No Name", t.TempDir())
	require.Equal(t, 2, bad.status)
	require.Contains(t, bad.err, `"No Name" is no name`)
}

func TestIDIsOneLineAndStays(t *testing.T) {
	path := write(t, "weft.yaml", "node: alice\n")
	first := run(t, "id", "-c", path)
	require.Zero(t, first.status, first.err)
	require.Regexp(t, `^\{name: alice, key: "ed25519:[A-Za-z0-9_-]{43}"\}\n$`, first.out)
	require.Equal(t, first, run(t, "id", "-c", path))

	// What it prints is what a peer's file takes.
	bob := write(t, "weft.yaml", "node: bob\npeers:\n  - "+first.out+"transports: {hub: {type: nats, url: nats://127.0.0.1:4222}}\n")
	require.Equal(t, bob+": ok\n", run(t, "check", bob).out)
}

const otherNode = "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"

// People paste all of what it prints into a file, with its lines or, in a shell, without. Is it the peer in any case, and are the
// addresses in it?
func TestIDOfAMeshMayBePastedWhole(t *testing.T) {
	path := write(t, "weft.yaml", "node: alice\ntransports: {mesh: {type: kademlia, listen: [/ip4/192.168.1.2/tcp/4001], announce: [/dns4/alice.example/tcp/4002]}}\n")
	got := run(t, "id", "-c", path)
	require.Zero(t, got.status, got.err)
	first, rest, _ := strings.Cut(got.out, "\n")
	require.Regexp(t, `^\{name: alice, key: "ed25519:[A-Za-z0-9_-]{43}"\}$`, first)
	require.Regexp(t, `^(# .*\n)+$`, rest)
	require.Regexp(t, `\n# - /dns4/alice.example/tcp/4002/p2p/12D3\w+   # announced\n# - /ip4/192.168.1.2/tcp/4001/p2p/12D3\w+   # from the local network\n$`, got.out)
	bare := run(t, "id", "--addresses", "-c", path)
	require.Regexp(t, `^/dns4/\S+\n/ip4/\S+\n$`, bare.out)
	for _, pasted := range []string{got.out, strings.Join(strings.Fields(got.out), " ") + "\n"} {
		bob := write(t, "weft.yaml", "node: bob\ntransports: {mesh: {type: kademlia, bootstrap: ["+strings.Join(strings.Fields(bare.out), ", ")+"]}}\npeers:\n  - "+pasted)
		require.Equal(t, result{0, bob + ": ok\n", ""}, run(t, "check", bob))
	}
}

func TestIDSaysWhatIsMissingForOthersToReachTheNode(t *testing.T) {
	for config, want := range map[string]string{
		"listen: [/ip4/127.0.0.1/tcp/4001]":       "/ip4/127.0.0.1/tcp/4001/p2p/\\w+   # from this machine alone\n# Nobody on another network reaches it so: .*\n$",
		"listen: [/ip4/127.0.0.1/tcp/0]":          "\n# No address over mesh is known before the node runs; `weft status` shows them then.\n$",
		"listen: []":                              "\n# No address over mesh is known",
		"listen: [nonsense, '${WEFT_NOT_SET}']":   "\n# No address over mesh is known",
		"listen: [], relays: [" + otherNode + "]": "/p2p-circuit/p2p/\\w+   # over a relay\n$",
	} {
		path := write(t, "weft.yaml", "node: alice\ntransports: {mesh: {type: kademlia, "+config+"}}\n")
		got := run(t, "id", "-c", path)
		require.Zero(t, got.status, got.err)
		require.Regexp(t, `^\{name: alice, key: "ed25519:\S+"\}\n# `, got.out)
		require.Regexp(t, want, got.out)
	}
	path := write(t, "weft.yaml", "node: alice\n")
	require.Equal(t, result{1, "", "weft: " + path + ": no address to give away; a transport of type kademlia that listens on a port has them\n"}, run(t, "id", "--addresses", "-c", path))
}

// Does a file for a mesh need nothing but what the other site sends, and what is wanted of it?
func TestInitOfAMeshNeedsNoMoreThanThePeers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "weft.yaml")
	made := run(t, "init", "--mesh", "--node", "alice", dir)
	require.Zero(t, made.status, made.err)
	checked := run(t, "check", path)
	require.Equal(t, path+": ok\n", checked.out)
	require.Regexp(t, `^warning: .*: routes\[0\]: carries nothing: it goes to peers, and none is listed; list them in peers.*\n$`, checked.err)
	id := run(t, "id", "-c", path)
	require.Contains(t, id.out, "/tcp/4001/p2p/")
	require.Contains(t, made.out, "\n\n"+id.out+"\n", "init shows what to send to the other site")

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	offered := regexp.MustCompile(`(?m)^( *)#(\S|  )`).ReplaceAllString(string(text), "$1$2")
	offered = regexp.MustCompile(`(?m)^[a-z]+: [\[{][\]}]\n`).ReplaceAllString(offered, "")
	require.Contains(t, offered, "\n    bootstrap: [/ip4/")
	require.NoError(t, os.WriteFile(path, []byte(offered), 0o600))
	require.Equal(t, result{0, path + ": ok\n", ""}, run(t, "check", path), "what it offers to uncomment is right too")
}

func TestIDRefusesAKeyThatOthersMayRead(t *testing.T) {
	path := write(t, "weft.yaml", "node: alice\n")
	require.Zero(t, run(t, "id", "-c", path).status)
	key := filepath.Join(filepath.Dir(path), "alice", "identity.key")
	require.NoError(t, os.Chmod(key, 0o644))
	refused := run(t, "id", "-c", path)
	require.Equal(t, 1, refused.status)
	require.Contains(t, refused.err, "chmod 600 "+key)
}

func TestCheckReportsEveryErrorOfEveryFile(t *testing.T) {
	good := write(t, "good.yaml", "node: good\n")
	bad := write(t, "bad.yaml", "node: bad\nroutes:\n  - {name: a, match: ['a#'], to: nowhere}\nbrokr: {}\n")
	seed := write(t, "seed.yaml", "node: seed\ntransports: {hub: {type: nats, url: nats://127.0.0.1:4222, nkey: seed.yaml}}\n")
	got := run(t, "check", good, bad, seed)
	require.Equal(t, 1, got.status)
	require.Equal(t, good+": ok\n", got.out)
	require.Contains(t, got.err, bad+`:3: routes[0].match[0]: filter "a#"`)
	require.Contains(t, got.err, bad+`:3: routes[0].to: no transport "nowhere"`)
	require.Contains(t, got.err, bad+`:4: brokr: unknown key; did you mean "broker"?`)
	require.Contains(t, got.err, seed+":2: transports.hub.nkey: ")
}

func TestCheckFindsWhatWouldStopAStart(t *testing.T) {
	path := write(t, "weft.yaml", `node: alice
broker: {embedded: {listen: "127.0.0.1:1883"}}
admin: {listen: "127.0.0.1:1883"}
`)
	require.Zero(t, run(t, "id", "-c", path).status)
	key := filepath.Join(filepath.Dir(path), "alice", "identity.key")
	require.NoError(t, os.Chmod(key, 0o644))
	got := run(t, "check", path)
	require.Contains(t, got.err, path+`:3: admin.listen: "127.0.0.1:1883" is the address of broker.embedded.listen too`)
	require.Contains(t, got.err, "data_dir: identity "+key+": mode 0644")
	for _, url := range []string{"broker: {url: 'mqtt://h:99999'}", "transports: {hub: {type: nats, url: 'nats://h:99999'}}"} {
		require.Contains(t, run(t, "check", write(t, "weft.yaml", "node: alice\n"+url)).err, "url: port 99999 is not in 1 to 65535")
	}
	file := write(t, "alice", "")
	require.Contains(t, run(t, "check", write(t, "weft.yaml", "node: alice\ndata_dir: "+file)).err, file+" is not a folder")
	fresh := write(t, "weft.yaml", "node: alice\n")
	require.Zero(t, run(t, "check", fresh).status)
	require.NoDirExists(t, filepath.Join(filepath.Dir(fresh), "alice"), "check writes nothing")
}

// A server that everybody can reach and use is no error, for a private network may be all there is. Is it said all the same?
func TestCheckWarnsOfOpenDoors(t *testing.T) {
	for config, want := range map[string]string{
		`transports: {hub: {type: nats, embedded: {listen: "0.0.0.0:4222"}}}`:             "transports.hub.embedded.listen: 0.0.0.0:4222 is reached from other machines, and the server asks nobody who they are",
		`transports: {hub: {type: nats, embedded: {listen: "0.0.0.0:4222"}, token: t}}`:   "",
		`transports: {hub: {type: nats, embedded: {listen: "127.0.0.1:4222"}}}`:           "",
		`broker: {embedded: {listen: "0.0.0.0:1883"}}`:                                    "broker.embedded.listen: 0.0.0.0:1883 is reached from other machines, and without users",
		`broker: {embedded: {listen: "0.0.0.0:1883", users: [{name: a, password: "b"}]}}`: "",
		`admin: {listen: ":9883"}`: "admin.listen: :9883 is reached",
	} {
		path := write(t, "weft.yaml", "node: alice\n"+config+"\n")
		got := run(t, "check", path)
		require.Zero(t, got.status)
		require.Equal(t, path+": ok\n", got.out)
		if want == "" {
			require.Empty(t, got.err)
			continue
		}
		require.Contains(t, got.err, "warning: "+path+":2: "+want)
	}
}

func TestMatchExitsAsGrepDoes(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want result
	}{
		{[]string{"doors/+", "doors/1", "doors", "doors/1/2", "doors/"}, result{0, "doors/1\ndoors/\n", ""}},
		{[]string{"doors/#", "doors"}, result{0, "doors\n", ""}},
		{[]string{"#", "$SYS/uptime"}, result{status: 1}},
	} {
		require.Equal(t, tt.want, run(t, append([]string{"match"}, tt.args...)...))
	}
	for _, args := range [][]string{{"a#", "a"}, {"a", "b", "c/+"}, {"$share/g/a", "a"}, {"a"}} {
		got := run(t, append([]string{"match"}, args...)...)
		require.Equal(t, 2, got.status, args)
		require.Empty(t, got.out)
		require.NotEmpty(t, got.err)
	}
}

func TestUsageErrorsExitWithTwoAndSayWhereHelpIs(t *testing.T) {
	file := write(t, "weft.yaml", "node: alice\n")
	for _, args := range [][]string{
		{"nonsense"},
		{"--nonsense"},
		{"id", "extra"},
		{"run", "extra"},
		{"version", "extra"},
		{"init", "x", "y"},
		{"completion", "foo"},
		{"completion", "bash", "extra"},
		{"pub"},
		{"pub", "-t", "a"},
		{"pub", "-t", "a", "-m", "b", "-n"},
		{"pub", "-t", "a/#", "-m", "b"},
		{"pub", "-t", "a", "-m", "b", "-q", "3"},
		{"pub", "-t", "a", "-m", "b", "-W", "5"},
		{"pub", "-t", "a", "-m", "b", "--url", "http://127.0.0.1"},
		{"sub"},
		{"sub", "-t", "a#"},
		{"sub", "-t", "a", "-c", file, "--log-level", "loud"},
		{"sub", "-t", "a", "-c", file, "--log-format", "xml"},
	} {
		got := run(t, args...)
		require.Equal(t, 2, got.status, "%q: %s", args, got.err)
		require.Regexp(t, `^weft: (?s:.*)\nTry: weft.* --help\n$`, got.err, "%q", args)
	}
	require.Contains(t, run(t, "chek").err, "check")
	for want, args := range map[string][]string{
		"such as 5s":                      {"sub", "-t", "a", "-W", "5"},
		"write 0, 1 or 2":                 {"pub", "-t", "a", "-m", "b", "-q", "-1"},
		"run takes no argument; -c names": {"run", "extra"},
		"demo takes no argument\n":        {"demo", "extra"},
		"init takes one folder":           {"init", "x", "y"},
		`unknown shell "foo"`:             {"completion", "foo"},
		"give -t TOPIC":                   {"pub", "-m", "x"},
		"give -t FILTER":                  {"sub"},
		"give one\n":                      {"pub", "-t", "a", "-m", "b", "-n"},
		"nothing to publish":              {"pub", "-t", "a"},
		`extra argument "two"`:            {"pub", "-t", "a", "-m", "b", "two"},
		"--url: unknown scheme":           {"sub", "-t", "a", "--url", "http://127.0.0.1"},
		"--url: missing":                  {"sub", "-t", "a", "--url", ""},
		`-t: filter "a#"`:                 {"sub", "-t", "a#"},
		`-t: topic "a/#"`:                 {"pub", "-t", "a/#", "-m", "b"},
		`FILTER: filter "a#"`:             {"match", "a#", "a"},
		`TOPIC 2: topic "b/+"`:            {"match", "a", "b", "b/+"},
		"a FILTER and at least one TOPIC": {"match", "a"},
	} {
		require.Contains(t, run(t, args...).err, want)
	}
}

func TestMissingConfigurationSaysHowToMakeOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weft.yaml")
	for _, command := range []string{"check", "id", "run"} {
		got := run(t, command, "-c", path)
		require.Equal(t, 1, got.status)
		require.Equal(t, path+": no such file; make one with `weft init`, or name another one\n", got.err)
	}
}

// Does every command explain itself, and is each of its examples a command line that it takes?
func TestHelpHasExamplesThatParse(t *testing.T) {
	all := []*cobra.Command{cli.NewRoot()}
	for i := 0; i < len(all); i++ {
		all = append(all, all[i].Commands()...)
	}
	for _, cmd := range all {
		require.NotEmpty(t, cmd.Short, cmd.Name())
		if cmd.Name() == "version" {
			continue
		}
		require.NotEmpty(t, cmd.Long, cmd.Name())
		require.NotEmpty(t, cmd.Example, cmd.Name())
		for line := range strings.Lines(cmd.Example) {
			_, words, found := strings.Cut(line, "weft ")
			if !found {
				continue
			}
			words, _, _ = strings.Cut(words, "   ") // what follows says what it does
			args := strings.Fields(strings.ReplaceAll(words, "'", ""))
			end := len(args)
			if i := slices.Index(args, "--"); i >= 0 { // what follows is another program's
				end = i
			}
			got := run(t, slices.Insert(slices.Clone(args), end, "--help")...)
			require.Zero(t, got.status, "%s: %s", line, got.err)
			require.Contains(t, got.out, "Usage:\n  weft "+args[0], line)
		}
	}
}

func TestVersionAndCompletion(t *testing.T) {
	require.Regexp(t, `^weft \S+\n$`, run(t, "--version").out)
	require.Regexp(t, `^weft \S+ go1\.\S+ \S+/\S+\n$`, run(t, "version").out)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		require.Contains(t, run(t, "completion", shell).out, "weft")
	}
	require.Contains(t, run(t, "__complete", "ch").out, "check\tSay what is wrong")
}

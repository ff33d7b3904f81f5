package configs_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline/identity"
)

func TestDurationsNeedAUnit(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "500ms": 500 * time.Millisecond, "2s": 2 * time.Second, "1m30s": 90 * time.Second,
		"72h": 72 * time.Hour, "3d": 72 * time.Hour, "1d12h": 36 * time.Hour, "1.5s": 1500 * time.Millisecond,
	} {
		got, err := parseCable("timeout: " + text)
		require.NoError(t, err)
		require.Equal(t, want, got.Timeout, text)
	}
	for _, text := range []string{
		"2", "-2s", "1.5", "s", "d", "x", "2 s", "2S", "-1d", "1d-12h", "1d1d", "1.5d", "106751d", "106750d999999h",
		"99999999999999999999s", "0x2s", "''", "1e3",
	} {
		_, err := parseCable("timeout: " + text)
		require.Error(t, err, text)
	}
}

func TestSizesAreBytesOrHaveAUnit(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "1B": 1, "16KiB": 16 << 10, "16 KiB": 16 << 10, "1kB": 1000, "1KB": 1000, "1MB": 1e6, "2GiB": 2 << 30,
		"1TiB": 1 << 40, "8388607TiB": 8388607 << 40, "9223372036854775807": 1<<63 - 1,
	} {
		got, err := parseCable("limit: " + text)
		require.NoError(t, err)
		require.Equal(t, want, got.Limit, text)
	}
	for _, text := range []string{"-1", "1.5GiB", "16kib", "16K", "KiB", "1 2KiB", "8388608TiB", "9223372036854775808", "0x10", "''"} {
		_, err := parseCable("limit: " + text)
		require.Error(t, err, text)
	}
}

func TestEnvironmentIsReadIntoValues(t *testing.T) {
	t.Setenv("WEFT_A", "one")
	t.Setenv("WEFT_EMPTY", "")
	for text, want := range map[string]string{
		"${WEFT_A}":                       "one",
		"a${WEFT_A}b${WEFT_A}":            "aoneboneb"[:len("aonebone")],
		"${WEFT_A:other}":                 "one",
		"${WEFT_NOT_SET:other}":           "other",
		"${WEFT_NOT_SET:}":                "",
		"${WEFT_NOT_SET:nats://h:4222/x}": "nats://h:4222/x",
		"${WEFT_EMPTY:other}":             "",
		"$${WEFT_A}":                      "${WEFT_A}",
		"$WEFT_A $ {} $$":                 "$WEFT_A $ {} $$",
		"${WEFT_NOT_SET:${WEFT_A}":        "${WEFT_A",
	} {
		got, err := parseCable("token: '" + text + "'")
		require.NoError(t, err)
		require.Equal(t, want, got.Token, text)
	}
}

// An empty token, of a variable that a script has not filled, would let everybody in.
func TestEmptyEnvironmentIsNoValueUnlessItMayBe(t *testing.T) {
	t.Setenv("WEFT_EMPTY", "")
	_, err := parseCable("token: '${WEFT_EMPTY}'")
	require.ErrorContains(t, err, "WEFT_EMPTY is empty; set it, or write ${WEFT_EMPTY:} where it may be")
	got, err := parseCable("token: '${WEFT_EMPTY:}'")
	require.NoError(t, err)
	require.Empty(t, got.Token)
}

func TestRelativePathsBeginAtTheFolderOfTheFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret\r\nnext\n"), 0o600))
	path := filepath.Join(dir, "weft.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
node: alice
data_dir: state/here
transports:
  hub: {type: cable, url: "cable://hub", token: "file:token", tls: {ca: ca.pem}}
`), 0o600))
	file, err := configs.Load(path, types)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "state/here"), file.Node.DataDir)
	require.Equal(t, filepath.Join(dir, "ca.pem"), file.Transports[0].Config.(*cable).TLS.CA)
	require.Equal(t, "s3cret", file.Transports[0].Config.(*cable).Token)
}

func TestEmptyValuesAreAsGoodAsNone(t *testing.T) {
	file, err := configs.Parse("/etc/weft/weft.yaml", []byte("node: alice\ndata_dir: ${WEFT_NOT_SET:}\nadmin: {listen: ''}\n"+
		"transports: {hub: {type: cable, url: 'cable://hub', token: '', tls: {ca: '${WEFT_NOT_SET:}'}}}\n"), types)
	require.NoError(t, err)
	require.Equal(t, "/etc/weft/alice", file.Node.DataDir)
	require.Empty(t, file.Admin.Listen)
	require.Empty(t, file.Transports[0].Config.(*cable).TLS.CA)
}

func TestMissingFileSaysHowToMakeOne(t *testing.T) {
	_, err := configs.Load(filepath.Join(t.TempDir(), "weft.yaml"), types)
	require.ErrorContains(t, err, "weft.yaml: no such file; make one with `weft init`")
}

// Is a node's identity to be had before its file is complete?
func TestNodeIsKnownBeforeItsFileIsComplete(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weft.yaml")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }

	write("node: alice\nbroker: {password: '${WEFT_NOT_SET}'}\npeers: [{name: bob, key: 'ed25519:...'}]\ntransports: {hub: {type: nats}}\n")
	file, err := configs.LoadPart(path, types, "node", "data_dir")
	require.NoError(t, err)
	require.Equal(t, "alice", file.Node.Node)
	require.Equal(t, filepath.Join(filepath.Dir(path), "alice"), file.Node.DataDir)

	write("node: No Name\n")
	_, err = configs.LoadPart(path, types, "node", "data_dir")
	require.ErrorContains(t, err, "weft.yaml:1: node: \"No Name\" is no name")
}

// Is what is wrong with other keys no error for whoever does not use them?
func TestLoadPartJudgesOnlyItsKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weft.yaml")
	require.NoError(t, os.WriteFile(path, []byte("nodes: alice\nroutes: [{}]\nadministrator: 1\nadmin: {listen: '127.0.0.1:1'}\n"), 0o600))
	file, err := configs.LoadPart(path, types, "admin")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:1", file.Admin.Listen)
	_, err = configs.LoadPart(path, types, "node", "routes")
	require.ErrorContains(t, err, "node: missing")
	require.ErrorContains(t, err, "routes[0].match: missing")
	require.NotContains(t, err.Error(), "administrator")
}

// Is anything secret in what a log would show of a configuration?
func TestSecretsAreNotInLogs(t *testing.T) {
	file, err := configs.Parse("weft.yaml", []byte("node: alice\nbroker: {password: s3cret}\n"+
		"transports: {hub: {type: cable, url: 'cable://hub', token: s3cret}}\n"), types)
	require.NoError(t, err)
	var out strings.Builder
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))} {
		log.Info("read", "file", file, "transport", file.Transports[0])
	}
	fmt.Fprintf(&out, "%v %+v %s", file, file.Transports[0], file.Transports)
	require.NotContains(t, out.String(), "s3cret")
	require.Contains(t, out.String(), "hub (cable)")
}

func parseCable(keys string) (*cable, error) {
	file, err := configs.Parse("weft.yaml", []byte("node: a\ntransports:\n  hub:\n    type: cable\n    url: 'cable://hub'\n    "+keys+"\n"), types)
	if err != nil {
		return nil, err
	}
	return file.Transports[0].Config.(*cable), nil
}

// FuzzParse asks whether any file stops the program, and whether each refusal says where and why.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/golden/*.txt")
	require.NoError(f, err)
	for _, path := range paths {
		pair, err := os.ReadFile(path)
		require.NoError(f, err)
		input, _, _ := strings.Cut(string(pair), dashes)
		f.Add(input)
	}
	f.Add("node: &a [*a]\n")
	f.Add("node: a\nsubscribe: &a [*a, *a]\n")
	f.Add("node: a\n<<: {node: b}\n")
	f.Add("node: a\ntransports: {hub: {type: cable, tls: &t {ca: *t}}}\n")
	f.Fuzz(func(t *testing.T, input string) {
		file, err := configs.Parse("testdata/golden/weft.yaml", []byte(input), types)
		if err == nil {
			require.NotEmpty(t, file.Node.Node)
			return
		}
		for _, problem := range err.(configs.Problems) { //nolint:errorlint // it is documented to be exactly this
			require.Positive(t, problem.Line)
			require.NotEmpty(t, problem.Text)
		}
	})
}

// A profile that no peer would read, and no network carry, would be announced in vain.
func TestSubscriptionsThatNoProfileHoldsAreRefused(t *testing.T) {
	var text strings.Builder
	text.WriteString("node: alice\npeers:\n")
	for i := range 50 {
		id, err := identity.New(ed25519.NewKeyFromSeed(append(make([]byte, 31), byte(i))))
		require.NoError(t, err)
		fmt.Fprintf(&text, "  - {name: p%d, key: %q}\n", i, identity.FormatKey(id.Public()))
	}
	text.WriteString("transports: {hub: {type: cable, url: 'cable://hub'}}\nsubscribe:\n")
	for i := range 1200 {
		fmt.Fprintf(&text, "  - factory/hall/%04d\n", i)
	}
	_, err := configs.Parse("weft.yaml", []byte(text.String()), types)
	require.EqualError(t, err, "weft.yaml:55: subscribe: the profile that asks 50 peers for them has 1084235 bytes; at most 1024000 are allowed; subscribe to fewer, wider filters, or say by from which peers each is asked of")
}

func TestFileFullOfMistakesIsReadInReasonableTime(t *testing.T) {
	_, err := configs.Parse("weft.yaml", []byte("node: a\nsubscribe: ["+strings.Repeat("[],", 50_000)+"]\n"), types)
	problems, ok := errors.AsType[configs.Problems](err)
	require.True(t, ok)
	require.Len(t, problems, 1000)
}

func TestCommonSlipsAreCalledByTheirNames(t *testing.T) {
	for text, want := range map[string]string{
		"node: a\nbroker:\n\turl: mqtt://h\n": "indent with spaces, not tabs",
		"node: a\npeers:\n  -\n":              "peers[0]: an empty item",
	} {
		_, err := configs.Parse("weft.yaml", []byte(text), configs.Types{Broker: func() any { return new(struct{}) }})
		require.ErrorContains(t, err, want)
	}
	dir := t.TempDir()
	_, err := configs.Load(dir, configs.Types{})
	require.EqualError(t, err, dir+": is a folder; name the file in it, such as "+dir+"/weft.yaml")
}

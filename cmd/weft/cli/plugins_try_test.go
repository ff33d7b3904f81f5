package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// try tests the program that the test program is in a role.
func try(t *testing.T, role string, flags ...string) result {
	t.Helper()
	return run(t, append(append([]string{"plugins", "test"}, flags...), "--", os.Args[0], "as", role)...)
}

func TestKitPassesWhatKeepsTheRules(t *testing.T) {
	got := try(t, "plugin", "--timeout", "1m", "--stage", "scale", "--options", `{"by": 2}`, "--message", "a/b=1")
	require.Zero(t, got.status, "%s%s", got.out, got.err)
	require.Regexp(t, `(?m)^program\n  ok    handshake\n  ok    health\n  ok    describe\n  ok    UnknownStageIsRefused$`, got.out)
	require.Regexp(t, `(?m)^stage scale\n  ok    OptionsAreTaken\n  ok    OptionsThatAreNoJSONAreRefused\n  ok    WrongOptionsAreRefused$`, got.out)
	require.Contains(t, got.out, "  ok    TopicsKeepTheirOrder\n")
	require.Contains(t, got.out, "  --    NoGoroutineIsLeft: not checked: what runs inside of a program does not show from outside\n")
	require.Regexp(t, `(?m)^end of the program\n  ok    EndsWithItsInput\n  ok    EndsOnSIGTERM\n`, got.out)
	require.Regexp(t, `\n\d+ ok, 0 failed, [12] not checked\n$`, got.out)
	require.NotContains(t, got.out, "scale2")
	require.Empty(t, got.err)
}

// Does each kind of misbehaviour end with a verdict that says what is wrong?
func TestKitFailsWhatBreaksTheRules(t *testing.T) {
	for name, tt := range map[string]struct {
		role  string
		flags []string
		want  []string
	}{
		"crashes at start": {"exits", nil, []string{
			`  FAIL  handshake: it ended with exit status 3: panic: no modem`, `  --    everything else: not checked: the program cannot be used`,
			`0 ok, 1 failed, 1 not checked`,
		}},
		"says nothing": {"mute", []string{"--timeout", "300ms"}, []string{`  FAIL  handshake: it was not ready within 300ms`}},
		"writes something else": {"greets", nil, []string{
			`  FAIL  handshake: plugin broke the contract: it wrote "hello\\n"; the first line that it writes must be the handshake`,
		}},
		"answers nothing": {"deaf", []string{"--timeout", "1s"}, []string{`  ok    handshake`, `  FAIL  health: `}},
		"reorders": {"odd", []string{"--stage", "reorders", "--timeout", "1m"}, []string{
			`  FAIL  TopicsKeepTheirOrder: call \d+: stage "reorders": plugin broke the contract: `, `  ok    EmptyCallIsHarmless`,
		}},
		"is not the same twice": {"odd", []string{"--stage", "counts", "--timeout", "1m"}, []string{
			`  FAIL  SameInputGivesSameOutput: call \d+: message 1 of the output is`, `  ok    TopicsKeepTheirOrder`,
		}},
		"hangs": {"odd", []string{"--stage", "hangs", "--timeout", "4s"}, []string{
			`  FAIL  EmptyCallIsHarmless: call 1: .*it did not answer within 4s`,
			`  --    \w+: not checked: the program has ended, or did not answer, 3 times; cure that first`, `  \w+ +EndsWithItsInput`,
		}},
		"exits": {"odd", []string{"--stage", "exits", "--timeout", "1m"}, []string{
			`  FAIL  EmptyCallIsHarmless: call 1: .*stage crashed.*it ended with exit status 7`,
		}},
		"refuses its defaults": {"odd", []string{"--stage", "needs"}, []string{
			`  --    OptionsAreTaken: not checked: it needs options \(port: missing; name the port\); give --options with it`,
		}},
		"refuses its options": {"odd", []string{"--stage", "needs", "--options", `{"port": ""}`}, []string{
			`  FAIL  OptionsAreTaken: open: port: missing; name the port`,
		}},
		"is content with everything": {"agrees", []string{"--timeout", "10s"}, []string{
			`  FAIL  UnknownStageIsRefused: it is answered with OK \(""\); the right answer is InvalidArgument`,
			`  FAIL  UnknownHandleOfAStageIsNotFound: it is answered with OK \(""\); the right answer is NotFound`,
			`  ok    CloseOfAnUnknownStageIsNoError`, `  FAIL  OptionsThatAreNoJSONAreRefused: `,
			`  FAIL  WrongOptionsAreRefused: open with by: "many": it is answered with OK`, `  FAIL  ClosedHandleIsNotFound: `,
		}},
		"does not end": {"stubborn", []string{"--timeout", "5s", "--stage", "scale"}, []string{
			`  FAIL  EndsWithItsInput: it has not ended 1s after the end of its standard input; a node kills it 2s after that`,
			`  FAIL  EndsOnSIGTERM: it has not ended 1s after SIGTERM`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := try(t, tt.role, tt.flags...)
			for _, want := range tt.want {
				require.Regexp(t, `(?m)^`+want, got.out)
			}
			if regexp.MustCompile(`(?m)^  FAIL`).MatchString(got.out) {
				require.Equal(t, 1, got.status)
			} else {
				require.Equal(t, 0, got.status)
			}
			require.Empty(t, got.err)
		})
	}
}

func TestKitFindsAProcessThatIsLeft(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows what a program has started")
	}
	pids := filepath.Join(t.TempDir(), "pids")
	got := run(t, "plugins", "test", "--timeout", "20s", "--stage", "scale", "--", os.Args[0], "as", "leaves", pids)
	text, err := os.ReadFile(pids)
	require.NoError(t, err)
	for word := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(word)
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	require.Regexp(t, `(?m)^  FAIL  NoProcessIsLeft: processes that it has started go on without it, such as \d+;`, got.out)
	require.Equal(t, 1, got.status)
}

func TestKitThatCannotBeUsedSaysHow(t *testing.T) {
	for _, tt := range []struct {
		flags []string
		want  string
	}{
		{nil, "no program; write its command after --"},
		{[]string{"--stage", "nix", "--", os.Args[0], "as", "plugin"}, `unknown stage "nix"; known here: scale, scale2`},
		{[]string{"--transport", "nix", "--", os.Args[0], "as", "plugin"}, `unknown transport "nix"; known here: none`},
		{[]string{"--stage", "scale", "--transport", "scale", "--", os.Args[0]}, "none of the others can be"},
		{[]string{"--options", "[]", "--", os.Args[0], "as", "plugin"}, `options "[]" are no JSON object`},
		{[]string{"--options", "{}", "--", os.Args[0], "as", "plugin"}, "options are those of one type, and the program has 2; name the type"},
		{[]string{"--message", "a/#=1", "--", os.Args[0], "as", "plugin"}, `--message "a/#=1": write TOPIC=PAYLOAD`},
		{[]string{"--timeout", "1ms", "--", os.Args[0], "as", "plugin"}, "--timeout 1ms is out of range"},
	} {
		got := run(t, append([]string{"plugins", "test"}, tt.flags...)...)
		require.Equal(t, 2, got.status, got.out)
		require.Contains(t, got.err, tt.want)
	}
}

package plugins_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Does a module of somebody's own, with a main of ten lines, make a weft with a stage more?
func TestCustomBuildHasItsOwnStage(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "weft")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, ".")
	build.Dir, build.Env = "examples/custom", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly") // as make build, whose cache it shares
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s\nif go.mod has changed: go mod tidy in plugins/examples/custom", out)
	weft := func(args ...string) string {
		cmd := exec.Command(bin, args...)
		cmd.Dir = "examples/custom"
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	require.Equal(t, "weft.yaml: ok\n", weft("check"))
	require.Equal(t, `stage count, example.com/custom/count, (devel), used by routes[0].stages[0]
  start  number  1     number of the first message
  most   number  1000  topics that are numbered; messages of further ones go on as they are
`, weft("plugins", "count"))
	require.Contains(t, weft("plugins"), "transport nats, built in, (devel), used by transports.hub\n")

	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	require.NoError(t, os.WriteFile(wrong, []byte("node: alice\nsubscribe:\n  - filter: a\n    stages: [{type: count, most: 0, stat: 1}]\n"), 0o600))
	refused, err := exec.Command(bin, "check", wrong).CombinedOutput()
	require.Error(t, err)
	require.Equal(t, wrong+`:4: subscribe[0].stages[0].stat: unknown key; did you mean "start"?
`+wrong+":4: subscribe[0].stages[0].most: less than 1; write how many topics may be numbered\n", string(refused))
}

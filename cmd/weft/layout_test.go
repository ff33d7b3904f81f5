package main_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root   = "../.."
	module = "github.com/weft-relay/weft"
)

// layers are the roles from the top down. Even a test may only import its own layer or those below it.
var layers = []string{"cmd", "plugins", "configs", "pipeline", "transports", "matching"}

// arrows says which folders of the module a folder may import, itself and what is under it always included.
// "transports/*" is every transport; "transports" alone is the contract. The longest matching folder counts.
var arrows = map[string][]string{
	"cmd":      {"plugins", "configs", "pipeline", "pipeline/stage", "matching"},
	"plugins":  {"configs", "pipeline/stage", "transports", "transports/*", "matching"},
	"configs":  {"pipeline", "matching"},
	"pipeline": {"pipeline/stage", "transports", "matching"},
	// The contract of stages is the pipeline's, and all that whoever writes one sees of it.
	"pipeline/stage": {},
	"transports":     {},
	"transports/*":   {"transports", "matching"},
	"matching":       {},
}

// homes says where alone a library may be imported: a folder with what is under it, or one file.
var homes = map[string][]string{
	"go.uber.org/fx":           {"cmd", "plugins", "pipeline/module.go"},
	"go.yaml.in/yaml":          {"configs"},
	"gopkg.in/yaml":            {"configs"},
	"sigs.k8s.io/yaml":         {"configs"},
	"github.com/goccy/go-yaml": {"configs"},
	"github.com/spf13":         {"cmd"},
	"github.com/eclipse/paho":  {"transports/mqtt"},
	"github.com/mochi-mqtt":    {"transports/mqtt"},
	"github.com/nats-io":       {"transports/nats"},
	"github.com/libp2p":        {"transports/kademlia"},
	"github.com/multiformats":  {"transports/kademlia"},
	"github.com/hashicorp":     {"plugins/remote", "plugins/serve"},
	"google.golang.org/grpc":   {"plugins/remote", "plugins/serve", "plugins/proto"},
	"github.com/expr-lang":     {"plugins/stages/expr"},
	"github.com/ThreeDotsLabs": {"pipeline", "plugins", "transports", "cmd"},
}

// topLevel is everything that may stand at the top of the repository.
var topLevel = []string{
	"cmd", "transports", "pipeline", "matching", "plugins", "configs", "go.mod", "go.sum", "README.md",
	"LICENSE", "Makefile", "CHANGELOG.md", "CONTRIBUTING.md", ".ci", ".gitignore", ".golangci.yml", "docs",
}

func TestImportsPointOneWay(t *testing.T) {
	files := goFiles(t)
	require.NotEmpty(t, files)
	require.NotContains(t, files, "plugins/examples/custom/main.go")
	for _, file := range files {
		for _, imported := range importsOf(t, file) {
			if complaint := judge(file, imported); complaint != "" {
				t.Errorf("%s imports %s: %s", file, imported, complaint)
			}
		}
	}
}

func TestForbiddenArrowsAreFound(t *testing.T) {
	for _, tt := range []struct {
		file, imported string
		ok             bool
	}{
		{"cmd/weft/run.go", module + "/pipeline/lanes", true},
		{"cmd/weft/run.go", module + "/transports/mqtt", false},
		{"cmd/weft/run_test.go", module + "/transports/mqtt", true},
		{"cmd/bench/main.go", module + "/transports/mqtt", true},
		{"plugins/builtin.go", module + "/transports/nats", true},
		{"plugins/builtin.go", module + "/cmd/weft", false},
		{"configs/load.go", module + "/plugins", false},
		{"pipeline/route.go", module + "/transports", true},
		{"pipeline/route.go", module + "/transports/nats", false},
		{"pipeline/route_test.go", module + "/transports/nats", true},
		{"pipeline/lanes/store.go", module + "/pipeline/frame", true},
		{"pipeline/staging.go", module + "/pipeline/stage", true},
		{"pipeline/stage/stage.go", module + "/pipeline", false},
		{"plugins/stages/sample/sample.go", module + "/pipeline/stage", true},
		{"plugins/stages/sample/sample.go", module + "/pipeline", false},
		{"plugins/stages/rename/rename.go", module + "/matching", true},
		{"transports/transports.go", module + "/matching", false},
		{"transports/nats/nats.go", module + "/transports", true},
		{"transports/nats/nats.go", module + "/transports/nats/internal/kv", true},
		{"transports/nats/nats.go", module + "/transports/mqtt", false},
		{"transports/nats/nats_test.go", module + "/pipeline", false},
		{"matching/set.go", module + "/pipeline", false},
		{"matching/set.go", "github.com/klauspost/compress/zstd", false},
		{"matching/set.go", "unicode/utf8", true},
		{"matching/set_test.go", "github.com/stretchr/testify/require", true},
		{"pipeline/module.go", "go.uber.org/fx", true},
		{"pipeline/route.go", "go.uber.org/fx", false},
		{"plugins/module.go", "go.uber.org/fx/fxevent", true},
		{"plugins/module.go", "go.yaml.in/yaml/v3", false},
		{"pipeline/route.go", "github.com/nats-io/nats.go/jetstream", false},
	} {
		complaint := judge(tt.file, tt.imported)
		require.Equal(t, tt.ok, complaint == "", "%s imports %s: %s", tt.file, tt.imported, complaint)
	}
}

func TestTopLevelHoldsOnlyWhatTheLayoutAllows(t *testing.T) {
	list := exec.Command("git", "ls-files", "-z")
	list.Dir = root
	out, err := list.Output()
	require.NoError(t, err, "this test needs git and a clone of the repository")
	tracked := strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	require.NotEmpty(t, tracked)
	for _, name := range tracked {
		top, _, _ := strings.Cut(name, "/")
		require.Contains(t, topLevel, top, "%s stands where the layout has nothing", name)
	}
}

// judge says why the file, named from the top of the repository, may not import the package; "" if it may.
func judge(file, imported string) string {
	folder := path.Dir(file)
	exempt := strings.HasSuffix(file, "_test.go") || within(folder, "cmd/bench")
	target, inModule := strings.CutPrefix(imported, module+"/")
	switch {
	case inModule && layer(target) < layer(folder):
		return "the arrow points backwards"
	case exempt:
		return ""
	case inModule && !arrowAllowed(folder, target):
		return "no such arrow in the layout"
	case within(folder, "matching") && strings.Contains(imported, "."):
		return "matching imports the standard library only"
	}
	for library, allowed := range homes {
		if !strings.HasPrefix(imported, library) {
			continue
		}
		if !slices.ContainsFunc(allowed, func(home string) bool { return within(file, home) }) {
			return "belongs in " + strings.Join(allowed, ", ") + " alone"
		}
	}
	return ""
}

func arrowAllowed(from, to string) bool {
	source, target := node(from), node(to)
	if source == target {
		// Transports do not know each other.
		return source != "transports/*" || strings.Split(from, "/")[1] == strings.Split(to, "/")[1]
	}
	return slices.Contains(arrows[source], target)
}

// node returns the key in arrows of the folder.
func node(folder string) string {
	top, _, deeper := strings.Cut(folder, "/")
	switch {
	case top == "transports" && deeper:
		return "transports/*"
	case within(folder, "pipeline/stage"):
		return "pipeline/stage"
	}
	return top
}

func layer(folder string) int {
	top, _, _ := strings.Cut(folder, "/")
	return slices.Index(layers, top)
}

func within(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, folder+"/")
}

// goFiles returns every Go file of the module, named from the top of the repository.
func goFiles(t *testing.T) []string {
	var files []string
	require.NoError(t, filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() && name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin") {
			return filepath.SkipDir
		}
		if entry.IsDir() && name != root && isModule(name) {
			return filepath.SkipDir // an example of what others build, who see the module from outside
		}
		if !entry.IsDir() && strings.HasSuffix(base, ".go") {
			relative, err := filepath.Rel(root, name)
			files = append(files, filepath.ToSlash(relative))
			return err
		}
		return nil
	}))
	return files
}

func isModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}

func importsOf(t *testing.T, file string) []string {
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.ImportsOnly)
	require.NoError(t, err)
	imports := make([]string, 0, len(parsed.Imports))
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		imports = append(imports, imported)
	}
	return imports
}

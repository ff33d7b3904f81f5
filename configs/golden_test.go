package configs_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/configs"
)

var update = flag.Bool("update", false, "write what is read now into the golden files")

const dashes = "----------\n"

// TestFilesAreReadAsTheirGoldenPairsSay reads testdata/golden/*.txt: a configuration file, a line of dashes, and what it
// says in JSON, or everything that is wrong with it.
func TestFilesAreReadAsTheirGoldenPairsSay(t *testing.T) {
	t.Setenv("WEFT_TOKEN", "s3cret")
	paths, err := filepath.Glob("testdata/golden/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			pair, err := os.ReadFile(path)
			require.NoError(t, err)
			input, want, found := strings.Cut(string(pair), dashes)
			require.True(t, found, "no line of dashes")
			got := read(t, input)
			require.Equal(t, strings.HasPrefix(filepath.Base(path), "bad-"), !strings.HasPrefix(got, "{"), got)
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(input+dashes+got), 0o644))
				return
			}
			require.Equal(t, want, got)
		})
	}
}

// read returns what the file says, or what is wrong with it.
func read(t *testing.T, input string) string {
	dir, err := filepath.Abs("testdata/golden")
	require.NoError(t, err)
	file, err := configs.Parse(filepath.Join(dir, "weft.yaml"), []byte(input), types)
	var got []byte
	if err != nil {
		problems, ok := errors.AsType[configs.Problems](err)
		require.True(t, ok)
		require.NotEmpty(t, problems)
		got = []byte(problems.Error())
		require.NotContains(t, string(got), "s3cret", "a value of the environment is shown")
	} else {
		got, err = json.MarshalIndent(file, "", "  ")
		require.NoError(t, err)
	}
	return strings.ReplaceAll(string(got), dir+string(filepath.Separator), "") + "\n"
}

// types is what the files of these tests may use: a broker, a transport whose peers need keys, one whose peers do not, two stages, and
// plugins.
var types = configs.Types{
	Broker: func() any { return new(broker) },
	Transports: []configs.TransportType{
		{Name: "cable", NeedsKey: true, Config: func() any { return new(cable) }},
		{Name: "bird", Config: func() any { return new(struct{}) }},
	},
	Stages: []configs.StageType{
		{Name: "sieve", Config: func() any { return new(sieve) }},
		{Name: "press", Config: func() any { return new(press) }},
	},
	Plugins: func() any { return new([]program) },
}

type program struct {
	Name    string   `yaml:"name"`
	Command []string `yaml:"command"`
}

func (p *program) PluginName() string { return p.Name }

type sieve struct {
	Mesh  time.Duration `yaml:"mesh"`
	Token string        `yaml:"token" weft:"secret"`
}

func (s *sieve) SetDefaults() { s.Mesh = time.Minute }

type press struct {
	Force int `yaml:"force"`
}

func (p *press) Validate() error {
	if p.Force == 0 {
		return errors.New("force: missing; give a number, such as 1")
	}
	return nil
}

type login struct {
	Password string `yaml:"password" weft:"secret"`
}

type broker struct {
	URL   string `yaml:"url"`
	login `yaml:",inline"`
}

type cable struct {
	URL     string        `yaml:"url"`
	Token   string        `yaml:"token" weft:"secret"`
	Limit   int64         `yaml:"limit" weft:"size"`
	Timeout time.Duration `yaml:"timeout"`
	Servers []string      `yaml:"servers"`
	TLS     *cableTLS     `yaml:"tls"`
	Node    string        `yaml:"-"`
}

type cableTLS struct {
	CA   string `yaml:"ca" weft:"file"`
	Cert string `yaml:"cert" weft:"file"`
	Key  string `yaml:"key" weft:"file"`
}

func (c *cable) SetDefaults() { c.Timeout = 5 * time.Second }

func (c *cable) Validate() error {
	var errs []error
	if !strings.HasPrefix(c.URL, "cable://") {
		errs = append(errs, errors.New("url: no cable; write cable://HOST"))
	}
	if c.TLS != nil && (c.TLS.Cert == "") != (c.TLS.Key == "") {
		errs = append(errs, errors.New("tls.key: cert and key go together; give both"))
	}
	return errors.Join(errs...)
}

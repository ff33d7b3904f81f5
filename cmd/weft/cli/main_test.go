package cli_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/serve"
)

// The test program is the plugins of its tests too.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "as" {
		roles[os.Args[2]]()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// roles are what the test program can be, by its second argument.
var roles = map[string]func(){
	"plugin": func() {
		serve.Main(serve.Stage("scale", newScale).Comment("multiplies readings"), serve.Stage("scale2", newScale))
	},
	"exits": func() { fmt.Fprintln(os.Stderr, "panic: no modem"); os.Exit(3) },
}

// as is the command of a role, as a file has it.
func as(role string) string { return fmt.Sprintf("[%q, as, %s]", os.Args[0], role) }

type scaleConfig struct {
	By    int           `yaml:"by" doc:"factor"`
	Every time.Duration `yaml:"every" doc:"how often"`
}

func (c *scaleConfig) SetDefaults() { c.By, c.Every = 1, time.Minute }

func (c *scaleConfig) Validate() error {
	if c.By == 0 {
		return errors.New("by: 0 is no factor; write 1 or more")
	}
	return nil
}

type scale struct{}

func newScale(scaleConfig, *slog.Logger) (scale, error) { return scale{}, nil }

func (scale) Process(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	return stage.Output{Messages: in}, nil
}

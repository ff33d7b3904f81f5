package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/remote"
	"github.com/weft-relay/weft/plugins/serve"
)

// servePlugin makes of this program a plugin with a stage that passes everything on, where a node has started it. Then it does not return.
func servePlugin() {
	if os.Getenv(remote.Handshake.MagicCookieKey) == "" {
		return
	}
	serve.Main(serve.Stage("pass", func(struct{}, *slog.Logger) (pass, error) { return pass{}, nil }))
}

type pass struct{}

func (pass) Process(_ context.Context, _ time.Time, in []stage.Message) (stage.Output, error) {
	return stage.Output{Messages: in}, nil
}

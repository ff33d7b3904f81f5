package plugins

import (
	"log/slog"
	"path/filepath"

	"github.com/weft-relay/weft/transports/twister"
)

// newTwister fills in what the node knows. Its state is in the node's data directory, by user, whatever the transport is called.
func newTwister(c *twister.Config, n node, log *slog.Logger) (*twister.Transport, error) {
	config := *c
	config.Peers = n.Names()
	config.DataDir = filepath.Join(n.DataDir, "twister")
	return twister.New(config, log)
}

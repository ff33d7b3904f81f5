package plugins

import (
	"log/slog"
	"path/filepath"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister"
)

// newTwister fills in what the node knows. Its state is in the node's data directory, by user, whatever the transport is called.
func newTwister(c *twister.Config, n node, log *slog.Logger) (transports.Transport, error) {
	config := *c
	config.Peers = n.names()
	config.DataDir = filepath.Join(n.dataDir, "twister")
	t, err := twister.New(config, log)
	if err != nil {
		return nil, err // not t, which would be an interface that is not nil
	}
	return t, nil
}

package plugins

import (
	"log/slog"
	"path/filepath"

	"github.com/weft-relay/weft/transports/nats"
)

// newNATS fills in what the node knows. An embedded server keeps its streams in the node's data directory unless told otherwise.
func newNATS(c *nats.Config, n node, log *slog.Logger) (*nats.Transport, error) {
	config := *c
	config.Node, config.Follow = n.Name, n.Names()
	if config.Embedded.StoreDir == "" {
		config.Embedded.StoreDir = filepath.Join(n.DataDir, "nats-"+n.Transport) // apart from the node's own folders
	}
	return nats.New(config, log)
}

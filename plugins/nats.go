package plugins

import (
	"log/slog"
	"path/filepath"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
)

// newNATS fills in what the node knows. An embedded server keeps its streams in the node's data directory unless told otherwise.
func newNATS(c *nats.Config, n node, log *slog.Logger) (transports.Transport, error) {
	config := *c
	config.Node, config.Follow = n.name, n.names()
	if config.Embedded.StoreDir == "" {
		config.Embedded.StoreDir = filepath.Join(n.dataDir, "nats-"+n.transport) // apart from the node's own folders
	}
	t, err := nats.New(config, log)
	if err != nil {
		return nil, err // not t, which would be an interface that is not nil
	}
	return t, nil
}

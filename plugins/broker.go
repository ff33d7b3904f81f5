package plugins

import (
	"log/slog"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/transports/mqtt"
)

const (
	defaultBroker = "mqtt://127.0.0.1:1883"
	// window is how many messages the node may read from its broker before it has stored the first: as many share one fsync.
	window = 4096
)

// Broker is the `broker` section.
type Broker struct {
	mqtt.Config `yaml:",inline"`
}

// SetDefaults sets what the node wants otherwise than a plain MQTT client.
func (b *Broker) SetDefaults() {
	b.URL, b.Window = defaultBroker, window
	b.Config.SetDefaults()
}

// NewBroker returns the node's session with the file's broker. It connects to nothing. The store keeps what of the session
// must survive a restart; nil keeps it in memory.
func NewBroker(file *configs.File, store mqtt.Store, log *slog.Logger) (*mqtt.Session, error) {
	config := file.Broker.(*Broker).Config
	if config.ClientID == "" {
		config.ClientID = "weft-" + file.Node.Node
	}
	session, err := mqtt.New(config, store, nil, log)
	if err != nil {
		return nil, file.Problem("broker", err)
	}
	return session, nil
}

package nats_test

import (
	"testing"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/nats"
	"github.com/weft-relay/weft/transports/transporttest"
)

func TestTransportKeepsItsPromises(t *testing.T) {
	features := transporttest.Features{Stores: true, Deduplicates: true, Restarts: true}
	transporttest.Run(t, features, func(t *testing.T) transporttest.Network {
		server := startServer(t)
		url := server.ClientURL()
		return transporttest.Network{
			Node: func(t *testing.T, name string, follow ...string) transports.Transport {
				return newNode(t, nats.Config{URL: url, Node: name, Follow: follow})
			},
			Stop:  func(t *testing.T) { server.stop(t) },
			Start: func(t *testing.T) { server.start(t) },
		}
	})
}

package kademlia_test

import (
	"testing"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/transporttest"
)

func TestTransportKeepsItsPromises(t *testing.T) {
	transporttest.Run(t, transporttest.Features{}, func(t *testing.T) transporttest.Network {
		m := newMesh(t)
		return transporttest.Network{
			Node: func(t *testing.T, name string, follow ...string) transports.Transport {
				return m.node(t, name, follow...)
			},
		}
	})
}

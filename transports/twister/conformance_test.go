package twister_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/transporttest"
	"github.com/weft-relay/weft/transports/twister"
	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// Twister keeps messages for those who are away, but a frame is published only once its recipient has confirmed it: it stores nothing
// in the sense of the suite.
func TestTransportKeepsItsPromises(t *testing.T) {
	features := transporttest.Features{Deduplicates: true, Restarts: true}
	transporttest.Run(t, features, func(t *testing.T) transporttest.Network {
		w := newWorld(t, twistertest.Options{}, "alice", "bob", "carol", "dave", "stranger", "nobody", "origin0", "origin1", "origin2", "origin3")
		return transporttest.Network{
			Node: func(t *testing.T, name string, follow ...string) transports.Transport {
				return w.transport(t, name, func(c *twister.Config) {
					c.Feeds, c.ProfilePoll = append([]string{}, follow...), 50*time.Millisecond
				})
			},
			Stop: func(*testing.T) {
				for _, d := range w.daemons {
					d.Stop()
				}
			},
			Start: func(t *testing.T) {
				for _, d := range w.daemons {
					require.NoError(t, d.Start())
				}
			},
		}
	})
}

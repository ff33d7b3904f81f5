package plugins_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/plugins"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// What is shown and measured over the simulation is no faster than it would be over real daemons: 6.5 ms a direct message, 11 ms a post.
func TestSimulatedTwisterTakesAsLongAsARealOne(t *testing.T) {
	simulation, err := plugins.SimulateTwister("alice", "bob")
	require.NoError(t, err)
	t.Cleanup(simulation.Close)
	client, err := rpc.New(rpc.Config{URL: simulation.URL("alice")})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_ = client.Follow(t.Context(), "alice", "alice")
		following, err := client.Following(t.Context(), "alice")
		return err == nil && len(following) == 1
	}, 10*time.Second, time.Millisecond)
	const count = 20
	begin := time.Now()
	for k := range count {
		_, err := client.DirectMessage(t.Context(), "alice", k, "bob", fmt.Sprint(k))
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, time.Since(begin), count*6500*time.Microsecond)
	begin = time.Now()
	for k := range count {
		_, err := client.PublicPost(t.Context(), "alice", count+k, fmt.Sprint(k))
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, time.Since(begin), count*11*time.Millisecond)
}

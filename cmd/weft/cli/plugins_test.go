package cli_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/cmd/weft/cli"
	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/plugins"
)

func TestPluginsAreListedWithTheirOptions(t *testing.T) {
	path := write(t, "weft.yaml", "node: alice\ntransports: {hub: {type: nats, url: nats://127.0.0.1:4222}}\n")
	got := run(t, "plugins", "-c", path)
	require.Zero(t, got.status, got.err)
	require.Regexp(t, `(?m)^transport nats, built in, \S+, used by transports\.hub$`, got.out)
	require.Regexp(t, `(?m)^transport kademlia, built in, \S+$`, got.out)
	require.Regexp(t, `(?m)^  limits\.age +duration +168h +frames that are not fetched`, got.out)
	require.Regexp(t, `(?m)^  embedded\.sync +default \| always +default +`, got.out)
	require.NotRegexp(t, `(?m) $`, got.out)

	one := run(t, "plugins", "twister", "-c", path)
	require.Contains(t, one.out, "transport twister")
	require.NotContains(t, one.out, "transport nats")
	wrong := run(t, "plugins", "natz", "-c", path)
	require.Equal(t, 2, wrong.status)
	require.Contains(t, wrong.err, `no type of transport or stage "natz"; there are: nats, kademlia, twister`)
	require.Equal(t, 1, run(t, "plugins", "-c", path+".none").status)
}

func TestPluginsAreListedInJSON(t *testing.T) {
	path := write(t, "weft.yaml", "node: alice\n")
	var all []plugins.Description
	got := run(t, "plugins", "--json", "-c", path)
	require.NoError(t, json.Unmarshal([]byte(got.out), &all), got.err)
	require.Equal(t, cli.Set.Describe(nil), all)
	require.Contains(t, all[0].Options, configs.Key{
		Path: "embedded.sync", Type: "text", Values: []string{"default", "always"}, Default: "default",
		Doc: "always syncs the disk before each answer; default every two minutes",
	})
}

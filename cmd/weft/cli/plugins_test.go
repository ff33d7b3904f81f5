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

// Are the types of the file's programs listed as those that are built in are, and is what cannot be asked named beside the rest?
func TestTypesOfProgramsAreListed(t *testing.T) {
	path := write(t, "weft.yaml", `node: alice
plugins:
  - {name: sensor, command: `+as("plugin")+`, timeout: 1m}
  - {name: gone, command: [./gone]}
  - {name: lora, command: `+as("exits")+`}
transports: {hub: {type: nats, url: nats://127.0.0.1:4222}}
routes: [{name: doors, match: ["doors/#"], to: hub, stages: [{type: sensor.scale, by: 10}]}]
`)
	got := run(t, "plugins", "-c", path)
	require.Equal(t, 1, got.status)
	require.Contains(t, got.out, "transport nats, built in")
	require.Regexp(t, `(?m)^stage sensor\.scale, program cli.test, .*used by routes\[0\]\.stages\[0\]\n  multiplies readings\n`+
		`  by +number +1 +factor\n  every +duration +1m +how often$`, got.out)
	require.Regexp(t, `(?m)^weft: plugin "gone": .*gone: no such file or directory$`, got.err)
	require.Regexp(t, `(?m)^weft: plugin "lora": it ended with exit status 3: panic: no modem$`, got.err)

	got = run(t, "plugins", "--json", "-c", path)
	require.Equal(t, 1, got.status)
	var all []plugins.Description
	require.NoError(t, json.Unmarshal([]byte(got.out), &all), got.err)
	require.Equal(t, plugins.Description{
		Kind: "plugin", Name: "lora", Options: []configs.Key{}, Error: "it ended with exit status 3: panic: no modem",
	}, all[len(all)-1])

	one := run(t, "plugins", "sensor.scale", "-c", path) // and the others are not asked
	require.Equal(t, 0, one.status, one.err)
	require.Contains(t, one.out, "stage sensor.scale, ")
	require.NotContains(t, one.out, "scale2")
	both := run(t, "plugins", "sensor", "-c", path)
	require.Contains(t, both.out, "stage sensor.scale2, ")
	broken := run(t, "plugins", "lora.send", "-c", path)
	require.Equal(t, 1, broken.status)
	require.Contains(t, broken.err, "no modem")
	wrong := run(t, "plugins", "sensor.shrink", "-c", path)
	require.Equal(t, 2, wrong.status)
	require.Contains(t, wrong.err, `no type of transport or stage "sensor.shrink"; there are: `)
	require.Contains(t, wrong.err, `sensor.scale, sensor.scale2; and those of the plugins sensor, gone, lora`)
}

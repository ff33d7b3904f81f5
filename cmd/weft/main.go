// Command weft joins MQTT brokers into one distributed broker. `weft --help` says how.
package main

import (
	"os"

	"github.com/weft-relay/weft/cmd/weft/cli"
)

func main() { os.Exit(cli.Main()) }

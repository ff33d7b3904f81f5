// Command custom is weft with one more stage. It is a module of its own, as yours is.
package main

import (
	"os"

	"github.com/weft-relay/weft/cmd/weft/cli"
	"github.com/weft-relay/weft/plugins"

	"example.com/custom/count"
)

func main() { os.Exit(cli.Main(plugins.Stage("count", count.New))) }

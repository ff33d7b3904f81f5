// Command weft joins MQTT brokers into one distributed broker. `weft --help` says how.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/weft-relay/weft/plugins"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	set, err := plugins.New()
	if err != nil {
		panic(err)
	}
	status := execute(ctx, set, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

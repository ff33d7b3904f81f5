// Package cli is the command weft. A build of one's own, with plugins compiled in, is a main of one line:
//
//	func main() { os.Exit(cli.Main(plugins.Stage("count", count.New), plugins.Transport("radio", radio.New))) }
package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/weft-relay/weft/plugins"
)

// Main runs the command line of this process, of a weft that has these plugins beside what is built in, and returns the exit status.
func Main(own ...plugins.Plugin) int {
	set, err := plugins.New(own...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "weft: this build is broken:", err)
		return statusError
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return execute(ctx, set, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

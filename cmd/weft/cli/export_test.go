package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/plugins"
)

// Set is what the tests of the command line use.
var Set, _ = plugins.New()

// Execute runs one command line and returns the exit status.
func Execute(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	return execute(ctx, Set, args, in, out, errOut)
}

// NewRoot returns the command itself.
func NewRoot() *cobra.Command { return newRoot(Set) }

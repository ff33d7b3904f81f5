package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/plugins"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of weft",
		Args:  noArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "weft %s %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}

// version returns the version of weft, whatever module this build of it is of.
func version() string { return plugins.Version("github.com/weft-relay/weft") }

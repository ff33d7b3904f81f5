package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline/identity"
)

func newCheck(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE...]",
		Short: "Say what is wrong with configuration files",
		Long: `Check builds everything that each file asks for, connects to nothing, writes nothing, and prints every error with its file, line and key.
Without FILE it checks the one that -c names. It exits with status 1 when anything is wrong. What is hardly meant, and works, is
printed as a warning.`,
		Example: "  weft check\n  weft check alice.yaml bob.yaml",
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(files) == 0 {
				files = []string{g.config}
			}
			var wrong error
			for _, file := range files {
				warnings, err := g.check(cmd.Context(), file)
				for _, w := range warnings {
					cmd.PrintErrln("warning:", w)
				}
				if err != nil {
					cmd.PrintErrln(err)
					wrong = errQuiet
				} else {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", file)
				}
			}
			return wrong
		},
	}
}

// check returns what a node with the file runs with and hardly should, and the errors with which none runs.
func (g *globals) check(ctx context.Context, path string) (configs.Problems, error) {
	file, err := g.set.Load(path)
	if err != nil {
		return nil, err
	}
	err = g.set.Check(ctx, file)
	if wrong := identity.Check(file.Node.DataDir); wrong != nil {
		err = errors.Join(err, file.Problem("data_dir", wrong))
	}
	return g.set.Warnings(file), err
}

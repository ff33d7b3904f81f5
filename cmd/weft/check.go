package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/plugins"
)

func newCheck(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE...]",
		Short: "Say what is wrong with configuration files",
		Long: `Check builds everything that each file asks for, connects to nothing, writes nothing, and prints every error with its file, line and key.
Without FILE it checks the one that -c names. It exits with status 1 when anything is wrong.`,
		Example: "  weft check\n  weft check alice.yaml bob.yaml",
		RunE: func(cmd *cobra.Command, files []string) error {
			if len(files) == 0 {
				files = []string{g.config}
			}
			var wrong error
			for _, file := range files {
				if err := check(file); err != nil {
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

func check(path string) error {
	file, err := plugins.Load(path)
	if err != nil {
		return err
	}
	err = plugins.Check(file)
	if wrong := identity.Check(file.Node.DataDir); wrong != nil {
		err = errors.Join(err, file.Problem("data_dir", wrong))
	}
	return err
}

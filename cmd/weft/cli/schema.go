package cli

import (
	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/configs"
)

func newSchema(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of weft.yaml",
		Long: `Schema prints the JSON Schema (2020-12) of the configuration file, with the transports and stages that this weft has. Editors that
know YAML complete and check the file by it: put "# yaml-language-server: $schema=weft.schema.json" into its first line.`,
		Example: "  weft schema > weft.schema.json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printJSON(cmd.OutOrStdout(), configs.Schema(g.set.Types()))
		},
	}
}

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline/identity"
)

func newID(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "id",
		Short: "Print this node's name and public key",
		Long: `Id prints this node's name and public key in one line, ready to paste into the peers of another node. It needs no more of
the configuration file than "node", and makes the identity if there is none.`,
		Example: "  weft id\n  weft id -c bob.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, dataDir, err := configs.LoadNode(g.config)
			if err != nil {
				return err
			}
			id, err := identity.Load(dataDir)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), peerLine(node, id))
			return nil
		},
	}
}

// peerLine is a node as it is written in the peers of another.
func peerLine(node string, id *identity.Identity) string {
	return peerEntry(node, identity.FormatKey(id.Public()))
}

func peerEntry(node, key string) string { return fmt.Sprintf("{name: %s, key: %q}", node, key) }

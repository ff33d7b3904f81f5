package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/plugins"
)

func newID(g *globals) *cobra.Command {
	var addresses bool
	cmd := &cobra.Command{
		Use:   "id",
		Short: "Print this node's name and public key, and its addresses",
		Long: `Id prints this node's name and public key in one line, ready to paste into the peers of another node. It needs no more of
the configuration file than "node", and makes the identity if there is none.
If the file has a mesh, the addresses follow at which others reach this node, ready to paste into the bootstrap of another node,
those that most reach first: as comments, so that all of it may stand in peers. They are what the file and this machine's
interfaces say; "weft status" shows those of the running node.`,
		Example: `  weft id
  weft id -c bob.yaml
  weft id --addresses          the addresses alone, one a line`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if addresses {
				return g.printAddresses(cmd.OutOrStdout(), g.config)
			}
			return g.printID(cmd.OutOrStdout(), g.config)
		},
	}
	cmd.Flags().BoolVar(&addresses, "addresses", false, "print the addresses alone, one a line")
	return cmd
}

// identify reads what of the file says who the node is, and makes its identity if there is none.
func (g *globals) identify(path string) (*configs.File, *identity.Identity, error) {
	file, err := g.set.LoadPart(path, "node", "data_dir")
	if err != nil {
		return nil, nil, err
	}
	id, err := identity.Load(file.Node.DataDir)
	return file, id, err
}

// printID prints the node as it is written in the peers of another, and where it is in comments.
func (g *globals) printID(out io.Writer, path string) error {
	file, id, err := g.identify(path)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, peerLine(file.Node.Node, id))
	meshes, err := plugins.Meshes(file, id.Public())
	for _, mesh := range meshes {
		if len(mesh.Places) == 0 {
			fmt.Fprintf(out, "# No address over %s is known before the node runs; `weft status` shows them then.\n", mesh.Transport)
			continue
		}
		fmt.Fprintf(out, "# Where others reach it over %s, for their bootstrap:\n", mesh.Transport)
		far := false
		for _, p := range mesh.Places {
			fmt.Fprintf(out, "# - %s   # %s\n", p.Address, p.From)
			far = far || p.Far
		}
		if !far {
			fmt.Fprintln(out, "# Nobody on another network reaches it so: docs/config.md says how, at listen, announce and relays.")
		}
	}
	return err
}

// printAddresses prints where others reach the node, for scripts.
func (g *globals) printAddresses(out io.Writer, path string) error {
	file, id, err := g.identify(path)
	if err != nil {
		return err
	}
	meshes, err := plugins.Meshes(file, id.Public())
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(meshes, func(m plugins.Mesh) bool { return len(m.Places) > 0 }) {
		return errors.New(path + ": no address to give away; a transport of type kademlia that listens on a port has them")
	}
	for _, mesh := range meshes {
		for _, p := range mesh.Places {
			fmt.Fprintln(out, p.Address)
		}
	}
	return nil
}

// peerLine is a node as it is written in the peers of another.
func peerLine(node string, id *identity.Identity) string {
	return peerEntry(node, identity.FormatKey(id.Public()))
}

func peerEntry(node, key string) string { return fmt.Sprintf("{name: %s, key: %q}", node, key) }

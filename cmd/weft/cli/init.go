package cli

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/configs"
)

// starter is the file that init writes for the node NODE. A "#" with no space, or with two, after it comments out a key.
//
//go:embed init.yaml
var starter string

// meshed is what stands in it with --mesh, in the place of what is from networks up to asked.
//
//go:embed init_mesh.yaml
var meshed string

const (
	networks = "# The networks between the nodes.\n"
	asked    = "# Where this node answers about itself:"
)

func newInit(g *globals) *cobra.Command {
	var node string
	var mesh bool
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a commented weft.yaml and an identity",
		Long: `Init writes DIR/weft.yaml, with every part of it explained, and makes the node's identity beside it. DIR is the current
folder unless given; -c names the file instead. It never overwrites a file.
With --mesh the file is for sites that are joined with no server anywhere, and init prints what to send to the other site:
one line for its peers, and the addresses of which it puts one into its bootstrap.`,
		Example: `  weft init
  weft init --mesh
  weft init --mesh --node alice ./alice
  weft init --node bob -c sites/bob.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("extra argument %q; init takes one folder", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			path := g.config
			if len(args) == 1 {
				if cmd.Flags().Changed("config") {
					return usageError{fmt.Errorf("both -c %s and DIR %s; give the file or its folder", path, args[0])}
				}
				path = filepath.Join(args[0], "weft.yaml")
			}
			if err := writeNode(path, node, mesh); err != nil {
				return err
			}
			if mesh {
				return g.inviteToMesh(cmd.OutOrStdout(), path)
			}
			file, id, err := g.identify(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), `wrote %[1]s
This node, for the peers of another: %[2]s
Next: edit %[1]s, then
  weft check %[1]s
  weft run -c %[1]s
`, path, peerLine(file.Node.Node, id))
			return nil
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "the node's `name` (default the name of this machine)")
	cmd.Flags().BoolVar(&mesh, "mesh", false, "for a mesh of the nodes themselves, with no server")
	return cmd
}

// inviteToMesh prints what the owner of a new node sends to those of others, and does next.
func (g *globals) inviteToMesh(out io.Writer, path string) error {
	fmt.Fprintf(out, "wrote %s\nSend this to the other site, the first line for its peers, an address for its bootstrap:\n\n", path)
	if err := g.printID(out, path); err != nil {
		return err
	}
	fmt.Fprintf(out, `
Next: put what the other site sends you into peers of %[1]s, where it is not on your network an address of it into bootstrap too,
and what you want from it into subscribe. Then
  weft check %[1]s
  weft run -c %[1]s
`, path)
	return nil
}

// writeNode writes the file of a new node.
func writeNode(path, node string, mesh bool) error {
	if node == "" {
		node = hostName()
	}
	if err := configs.CheckNode(node); err != nil {
		return usageError{err}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; remove it first, or name another folder", path)
	}
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	text := starter
	if mesh {
		before, rest, _ := strings.Cut(text, networks)
		_, after, _ := strings.Cut(rest, asked)
		text = before + meshed + asked + after
	}
	_, err = file.WriteString(strings.ReplaceAll(text, "NODE", node))
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	return nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9_-]+`)

// hostName returns what of the machine's name can be a node's.
func hostName() string {
	host, _ := os.Hostname() // "node" will do where there is none
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	if host = notInNames.ReplaceAllString(host, "-"); host == "" {
		return "node"
	}
	return host[:min(len(host), 32)]
}

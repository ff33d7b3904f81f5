package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/pipeline/identity"
)

// starter is the file that init writes for the node NODE. A "#" with no space, or with two, after it comments out a key.
//
//go:embed init.yaml
var starter string

func newInit(g *globals) *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a commented weft.yaml and an identity",
		Long: `Init writes DIR/weft.yaml, with every part of it explained, and makes the node's identity beside it. DIR is the current
folder unless given; -c names the file instead. It never overwrites a file.`,
		Example: "  weft init\n  weft init --node alice ./alice\n  weft init --node bob -c sites/bob.yaml",
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
			line, err := writeNode(path, node)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), `wrote %[1]s
This node, for the peers of another: %[2]s
Next: edit %[1]s, then
  weft check %[1]s
  weft run -c %[1]s
`, path, line)
			return nil
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "the node's `name` (default the name of this machine)")
	return cmd
}

// writeNode writes the file of a new node, makes its identity, and returns it as a peer.
func writeNode(path, node string) (string, error) {
	if node == "" {
		node = hostName()
	}
	if err := configs.CheckNode(node); err != nil {
		return "", usageError{err}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("init: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s is there already; remove it first, or name another folder", path)
	}
	if err != nil {
		return "", fmt.Errorf("init: %w", err)
	}
	_, err = file.WriteString(strings.ReplaceAll(starter, "NODE", node))
	if err = errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("init: %w", err)
	}
	id, err := identity.Load(filepath.Join(filepath.Dir(path), node))
	if err != nil {
		return "", err
	}
	return peerLine(node, id), nil
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

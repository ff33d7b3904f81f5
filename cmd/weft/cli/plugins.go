package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/configs"
	"github.com/weft-relay/weft/plugins"
)

func newPlugins(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "plugins [NAME]",
		Short: "List the types of transports and stages, with their options",
		Long: `Plugins lists every type of transport and of stage that this weft has, or those called NAME: the version, the module that it
comes from, what of the configuration file uses it, and its options with their notation, default and meaning.`,
		Example: "  weft plugins\n  weft plugins nats\n  weft plugins --json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("extra argument %q; plugins takes one name", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, names []string) error {
			file, err := g.used(cmd.Flags().Changed("config"))
			if err != nil {
				return err
			}
			all := g.set.Describe(file)
			if len(names) == 1 {
				if all, err = called(names[0], all); err != nil {
					return err
				}
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), all)
			}
			for i, d := range all {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := printPlugin(cmd.OutOrStdout(), d); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// used returns what the file says of transports and stages. Where nobody named a file there may be none.
func (g *globals) used(named bool) (*configs.File, error) {
	if _, err := os.Stat(g.config); !named && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return g.set.LoadPart(g.config, "transports", "routes", "subscribe")
}

func called(name string, all []plugins.Description) ([]plugins.Description, error) {
	var names []string
	for _, d := range all {
		names = append(names, d.Name)
	}
	all = slices.DeleteFunc(all, func(d plugins.Description) bool { return d.Name != name })
	if len(all) == 0 {
		return nil, usageError{fmt.Errorf("no type of transport or stage %q; there are: %s", name, strings.Join(names, ", "))}
	}
	return all, nil
}

func printJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func printPlugin(out io.Writer, d plugins.Description) error {
	from := "built in"
	if !d.BuiltIn {
		from = d.Package
	}
	fmt.Fprintf(out, "%s %s, %s, %s", d.Kind, d.Name, from, d.Version)
	if len(d.UsedBy) > 0 {
		fmt.Fprintf(out, ", used by %s", strings.Join(d.UsedBy, ", "))
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, key := range d.Options {
		notation := key.Type
		if key.Values != nil {
			notation = strings.Join(key.Values, " | ")
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", key.Path, notation, key.Default, key.Doc)
	}
	return w.Flush()
}

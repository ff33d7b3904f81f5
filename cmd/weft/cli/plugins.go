package cli

import (
	"cmp"
	"context"
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
comes from, what of the configuration file uses it, and its options with their notation, default and meaning. The types of the file's
plugins that are programs are among them, as PLUGIN.TYPE; each program is started once to be asked, and NAME may be a plugin too. One
that cannot be asked is an error that says why, after everything else was listed.`,
		Example: `  weft plugins
  weft plugins nats
  weft plugins lora                        all types that the plugin lora has
  weft plugins lora.decode -c alice.yaml   one of them
  weft plugins --json`,
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
			name := ""
			if len(names) == 1 {
				name = names[0]
			}
			all, err := g.described(cmd.Context(), file, name)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), all)
			} else {
				err = printPlugins(cmd.OutOrStdout(), all)
			}
			return cmp.Or(err, complain(cmd, all))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(newPluginsTest(g))
	return cmd
}

// described returns what the build and the file's programs have, or what is called that. No program is started without need.
func (g *globals) described(ctx context.Context, file *configs.File, name string) ([]plugins.Description, error) {
	plugin, _, _ := strings.Cut(name, ".")
	all := append(g.set.Describe(file), plugins.DescribePrograms(ctx, file, func(program string) bool {
		return name == "" || program == plugin
	})...)
	if name == "" {
		return all, nil
	}
	return called(name, all, plugins.ProgramNames(file))
}

// complain names the plugins that could not be asked.
func complain(cmd *cobra.Command, all []plugins.Description) error {
	var wrong error
	for _, d := range all {
		if d.Error != "" {
			cmd.PrintErrf("weft: plugin %q: %s\n", d.Name, d.Error)
			wrong = errQuiet
		}
	}
	return wrong
}

// used returns what the file says of transports and stages. Where nobody named a file there may be none.
func (g *globals) used(named bool) (*configs.File, error) {
	if _, err := os.Stat(g.config); !named && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return g.set.LoadPart(g.config, "transports", "routes", "subscribe", "plugins")
}

// called returns the types of that name, or of the plugin of that name. One that could not be asked may have it.
func called(name string, all []plugins.Description, programs []string) ([]plugins.Description, error) {
	var names []string
	for _, d := range all {
		if d.Error == "" {
			names = append(names, d.Name)
		}
	}
	all = slices.DeleteFunc(all, func(d plugins.Description) bool {
		return d.Name != name && !strings.HasPrefix(d.Name, name+".") && d.Error == ""
	})
	if len(all) == 0 {
		reason := fmt.Errorf("no type of transport or stage %q; there are: %s", name, strings.Join(names, ", "))
		if len(programs) > 0 {
			reason = fmt.Errorf("%w; and those of the plugins %s", reason, strings.Join(programs, ", "))
		}
		return nil, usageError{reason}
	}
	return all, nil
}

func printJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func printPlugins(out io.Writer, all []plugins.Description) error {
	first := true
	for _, d := range all {
		if d.Error != "" {
			continue
		}
		if !first {
			fmt.Fprintln(out)
		}
		first = false
		if err := printPlugin(out, d); err != nil {
			return err
		}
	}
	return nil
}

func printPlugin(out io.Writer, d plugins.Description) error {
	from := d.Package
	switch {
	case d.BuiltIn:
		from = "built in"
	case d.Program != "":
		from = "program " + d.Program
	}
	fmt.Fprintf(out, "%s %s, %s", d.Kind, d.Name, cmp.Or(from, "program"))
	if d.Version != "" {
		fmt.Fprintf(out, ", %s", d.Version)
	}
	if len(d.UsedBy) > 0 {
		fmt.Fprintf(out, ", used by %s", strings.Join(d.UsedBy, ", "))
	}
	fmt.Fprintln(out)
	if d.Comment != "" {
		fmt.Fprintf(out, "  %s\n", d.Comment)
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, key := range d.Options {
		notation, value := key.Type, key.Default
		if key.Values != nil {
			notation = strings.Join(key.Values, " | ")
		}
		if key.Required {
			value = "required"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", key.Path, notation, value, key.Doc)
	}
	return w.Flush()
}

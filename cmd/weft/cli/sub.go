package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/plugins"
)

type subFlags struct {
	clientFlags
	filters []string
	count   uint
	verbose bool
}

func newSub(g *globals) *cobra.Command {
	f := &subFlags{}
	cmd := &cobra.Command{
		Use:   "sub -t FILTER...",
		Short: "Print the messages of a broker",
		Long: `Sub subscribes at the broker of this node, or at the one that --url names, and prints each message on a line of its own,
until it is interrupted. It exits with status 1 when -C messages have not come in the time of -W, and where the broker is
out of reach or refuses the login. A connection that is lost later is made again.
At a built-in broker with users it is the first of them who may read something of every filter, or the one that --user names; what
that user may not read does not come.`,
		Example: `  weft sub -t '#' -v
  weft sub -t '#' --user panel                         as this user of the built-in broker
  weft sub -t 'doors/+' -C 1 -W 5s --url mqtt://127.0.0.1:1884`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(f.filters) == 0 {
				return usageError{errors.New("no filter; give -t FILTER, in quotes")}
			}
			for _, filter := range f.filters {
				if err := matching.ValidateFilter(filter); err != nil {
					return usageError{fmt.Errorf("-t: %w", err)}
				}
			}
			f.access.Filters = f.filters
			return f.run(cmd, g, func(ctx context.Context, c *plugins.Client) error { return f.print(ctx, cmd, c) })
		},
	}
	f.add(cmd, 2, "end after `time`, such as 5s (default none)")
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.filters, "topic", "t", nil, "topic `filter`; may be given several times")
	flags.UintVarP(&f.count, "count", "C", 0, "end after so many `messages` (default none)")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "print the topic before each message")
	return cmd
}

func (f *subFlags) print(ctx context.Context, cmd *cobra.Command, c *plugins.Client) error {
	out := bufio.NewWriter(cmd.OutOrStdout())
	var printed uint
	var broken error // standard output is
	err := c.Subscribe(ctx, f.filters, f.qos, func(m plugins.Message) bool {
		if f.verbose {
			fmt.Fprintf(out, "%s ", m.Topic)
		}
		out.Write(m.Payload)
		out.WriteByte('\n')
		broken = out.Flush()
		printed++
		return broken == nil && printed != f.count
	})
	switch {
	case broken != nil:
		return broken
	case errors.Is(err, context.Canceled), ctx.Err() != nil && f.count == 0 && c.Connected():
		return nil // what was asked for
	case err == nil && printed < f.count:
		return fmt.Errorf("%d of %d messages came", printed, f.count)
	}
	return err
}

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/plugins"
)

// maxLine is the longest line that `weft pub -l` takes, in bytes.
const maxLine = 16 << 20

// pubWait is how long `weft pub` waits for a broker unless told otherwise.
const pubWait = 10 * time.Second

type pubFlags struct {
	clientFlags
	message plugins.Message
	text    string
	empty   bool
	lines   bool
}

func newPub(g *globals) *cobra.Command {
	f := &pubFlags{}
	cmd := &cobra.Command{
		Use:   "pub -t TOPIC (-m MESSAGE | -n | -l)",
		Short: "Publish a message to a broker",
		Long: `Pub publishes to the broker of this node, or to the one that --url names. At QoS 1 and 2 it ends when the broker has taken
everything over. Where the broker is out of reach, or refuses the login, it ends with status 1.
At a built-in broker with users it is the first of them who may publish to the topic, or the one that --user names.`,
		Example: `  weft pub -t doors/front -m open
  weft pub -t doors/front -n -r                        delete the retained message
  weft pub -t doors/front -m open --user sensor        as this user of the built-in broker
  tail -f log | weft pub -t log -l --url mqtt://127.0.0.1:1884`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("extra argument %q; put a message of several words in quotes: -m \"two words\"", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("topic") {
				return usageError{errors.New("no topic; give -t TOPIC")}
			}
			if err := f.onePayload(cmd); err != nil {
				return usageError{err}
			}
			if err := matching.ValidateTopic(f.message.Topic); err != nil {
				return usageError{fmt.Errorf("-t: %w", err)}
			}
			f.access.Topic = f.message.Topic
			return f.run(cmd, g, func(ctx context.Context, c *plugins.Client) error {
				return f.publish(ctx, c, cmd.InOrStdin())
			})
		},
	}
	f.add(cmd, 0, "give up after `time`, such as 5s (default 10s; with -l none)")
	flags := cmd.Flags()
	flags.StringVarP(&f.message.Topic, "topic", "t", "", "`topic` to publish on")
	flags.StringVarP(&f.text, "message", "m", "", "`message` to publish")
	flags.BoolVarP(&f.empty, "null", "n", false, "publish an empty message")
	flags.BoolVarP(&f.lines, "lines", "l", false, "publish each line of standard input")
	flags.BoolVarP(&f.message.Retain, "retain", "r", false, "have the broker keep the message for later subscribers")
	return cmd
}

func (f *pubFlags) onePayload(cmd *cobra.Command) error {
	given := 0
	for _, flag := range []string{"message", "null", "lines"} {
		if cmd.Flags().Changed(flag) {
			given++
		}
	}
	switch given {
	case 0:
		return errors.New("nothing to publish; give -m MESSAGE, -n for an empty message, or -l for the lines of standard input")
	case 1:
		return nil
	}
	return errors.New("more than one of -m, -n and -l; give one")
}

func (f *pubFlags) publish(ctx context.Context, c *plugins.Client, in io.Reader) error {
	m := f.message
	m.QoS = f.qos
	if !f.lines {
		if f.wait == 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, pubWait, errTooLong)
			defer cancel()
		}
		m.Payload = []byte(f.text)
		return c.Publish(ctx, m)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		m.Payload = []byte(lines.Text()) // a copy: the scanner uses its buffer again
		if err := c.Publish(ctx, m); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line of more than %d bytes", maxLine)
	}
	return lines.Err()
}

package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/plugins/remote"
	"github.com/weft-relay/weft/plugins/remote/plugintest"
)

func newPluginsTest(g *globals) *cobra.Command {
	var (
		kit                  plugintest.Kit
		stageType, transport string
		messages             []string
	)
	cmd := &cobra.Command{
		Use:   "test [--stage TYPE | --transport TYPE] [--options JSON] -- COMMAND [ARGS...]",
		Short: "Say whether a program keeps to the protocol of plugins",
		Long: `Test starts a program as a node does, and holds it to the protocol of plugins: how it greets, describes itself and ends, what it
answers to what is wrong, and whether its stages and transports, or the one named, keep the rules of their contracts. It prints a line for
each rule: ok, FAIL with the reason, or -- for what was not checked and why. COMMAND runs in this folder, with the environment
that a node gives to its plugins: env in front of it sets more.

Frames of a transport are sent between two nodes and more if --options is given once for each of them, and they reach one network.

The exit status is 0 when no check has failed, 1 when one has, and 2 when the command line cannot be obeyed.`,
		Example: `  weft plugins test -- ./lora-plugin --port /dev/ttyUSB0
  weft plugins test --stage decode --options '{"unit":"celsius"}' --message doors/1=open -- node plugin.js
  weft plugins test --transport hub --options '{"url":"nats://127.0.0.1"}' --options '{"url":"nats://127.0.0.1"}' --stores -- ./hub
  weft plugins test --log-level debug -- env MODEM=/dev/ttyUSB0 ./lora-plugin`,
		Args: func(_ *cobra.Command, command []string) error {
			if len(command) == 0 || command[0] == "" {
				return errors.New("no program; write its command after --, such as weft plugins test -- ./lora-plugin")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, command []string) error {
			kit.Command = command
			switch {
			case stageType != "":
				kit.Kind, kit.Type = remote.KindStage, stageType
			case transport != "":
				kit.Kind, kit.Type = remote.KindTransport, transport
			}
			if kit.Timeout < 100*time.Millisecond || kit.Timeout > time.Hour {
				return usageError{fmt.Errorf("--timeout %v is out of range; write 100ms to 1h", kit.Timeout)}
			}
			var err error
			if kit.Input, err = parseMessages(messages); err != nil {
				return err
			}
			if kit.Log, err = g.programLog(cmd.ErrOrStderr()); err != nil {
				return err
			}
			return runKit(cmd, kit)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // the flags after COMMAND are its own
	flags.StringVar(&stageType, "stage", "", "look at this `type` of stage alone")
	flags.StringVar(&transport, "transport", "", "look at this `type` of transport alone")
	flags.StringArrayVar(&kit.Options, "options", nil, "options of the type, a `JSON` object; of a transport once for each node")
	flags.StringArrayVar(&messages, "message", nil, "`TOPIC=PAYLOAD` that makes a stage do what it is for; may be given many times")
	flags.DurationVar(&kit.Timeout, "timeout", 10*time.Second, "how long a start or a call may take; an end may take a fifth of it")
	flags.BoolVar(&kit.Stores, "stores", false, "the transport's network keeps frames for whoever is away")
	flags.BoolVar(&kit.Deduplicates, "deduplicates", false, "the transport's network drops a frame that is sent twice")
	cmd.MarkFlagsMutuallyExclusive("stage", "transport")
	return cmd
}

func parseMessages(all []string) (messages []stage.Message, err error) {
	for _, text := range all {
		topic, payload, found := strings.Cut(text, "=")
		if err := matching.ValidateTopic(topic); !found || err != nil {
			return nil, usageError{errors.Join(fmt.Errorf("--message %q: write TOPIC=PAYLOAD, such as doors/1=open", text), err)}
		}
		messages = append(messages, stage.Message{Topic: topic, Payload: []byte(payload), QoS: 1})
	}
	return messages, nil
}

// programLog has what the program writes, where a flag asks for it: what it says of itself is told with what has failed.
func (g *globals) programLog(w io.Writer) (*slog.Logger, error) {
	log, err := g.logger(w, slog.LevelInfo)
	if err != nil || g.logLevel != "" {
		return log, err
	}
	return slog.New(slog.DiscardHandler), nil
}

// runKit prints each result as soon as it is there, and what they are together.
func runKit(cmd *cobra.Command, kit plugintest.Kit) error {
	out, part, counts := cmd.OutOrStdout(), "", map[plugintest.Verdict]int{}
	kit.Report = func(r plugintest.Result) {
		counts[r.Verdict]++
		if r.Part != part {
			part = r.Part
			fmt.Fprintln(out, part)
		}
		fmt.Fprintln(out, verdictLine(r))
	}
	err := kit.Run(cmd.Context())
	if usage, ok := errors.AsType[plugintest.UsageError](err); ok {
		return usageError{usage}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d ok, %d failed, %d not checked\n", counts[plugintest.OK], counts[plugintest.Failed], counts[plugintest.NotChecked])
	if counts[plugintest.Failed] > 0 {
		return errQuiet
	}
	return nil
}

func verdictLine(r plugintest.Result) string {
	reason := strings.ReplaceAll(strings.TrimSpace(r.Reason), "\n", "\n        ")
	switch r.Verdict {
	case plugintest.OK:
		return "  ok    " + r.Check
	case plugintest.Failed:
		return "  FAIL  " + r.Check + ": " + reason
	}
	return "  --    " + r.Check + ": not checked: " + reason
}

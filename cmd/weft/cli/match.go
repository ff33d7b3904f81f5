package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/matching"
)

func newMatch() *cobra.Command {
	return &cobra.Command{
		Use:   "match FILTER TOPIC...",
		Short: "Say which topics match a filter",
		Long: `Match prints the topics that match the MQTT topic filter, one a line. As with grep the exit status is 0 when at least one
matches, 1 when none does, and 2 when the filter or a topic is not valid.`,
		Example: "  weft match 'doors/+/state' doors/front/state doors/front\n  weft match '#' '$SYS/uptime'",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("give a FILTER and at least one TOPIC, each in quotes")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, topics := args[0], args[1:]
			if err := matching.ValidateInterest(filter); err != nil {
				return usageError{fmt.Errorf("FILTER: %w", err)}
			}
			for i, topic := range topics {
				if err := matching.ValidateTopic(topic); err != nil {
					return usageError{fmt.Errorf("TOPIC %d: %w", i+1, err)}
				}
			}
			found := errQuiet
			for _, topic := range topics {
				if matching.Match(filter, topic) {
					fmt.Fprintln(cmd.OutOrStdout(), topic)
					found = nil
				}
			}
			return found
		},
	}
}

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/pipeline"
)

func newPeersPing(g *globals) *cobra.Command {
	var count uint
	var transport string
	var node adminFlags
	cmd := &cobra.Command{
		Use:   "ping NAME",
		Short: "Measure how long a peer of the mesh takes to answer",
		Long: `Ping has the running node of the configuration file ask a peer for an answer over their mesh, one time after the other, and prints how
long each took. It ends with status 1 when there is none, and says why: the peer is not connected, or silent for 5 s.`,
		Example: `  weft peers ping bob
  weft peers ping bob -n 1 -c alice.yaml
  weft peers ping bob --transport mesh`,
		Args: func(_ *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				return errors.New("no peer; give the name of one")
			case 1:
				return nil
			}
			return fmt.Errorf("extra argument %q; ping takes one peer", args[1])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			address, err := node.find(g)
			if err != nil {
				return err
			}
			page := "/api/v1/peers/" + url.PathEscape(args[0]) + "/ping?transport=" + url.QueryEscape(transport)
			var least, most, sum time.Duration
			for i := range count {
				body, err := fetch(cmd.Context(), address, page)
				if err != nil {
					return err
				}
				var e pipeline.Echo
				if err := json.Unmarshal(body, &e); err != nil || e.Peer == "" {
					return notWeft(address)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s over %s: %s\n", e.Peer, e.Transport, latency(e.Time))
				if i == 0 {
					least = e.Time
				}
				least, most, sum = min(least, e.Time), max(most, e.Time), sum+e.Time
			}
			if count > 1 {
				fmt.Fprintf(cmd.OutOrStdout(), "least %s, average %s, most %s\n", latency(least), latency(sum/time.Duration(count)), latency(most))
			}
			return nil
		},
	}
	cmd.Flags().UintVarP(&count, "count", "n", 5, "`times` to ask")
	cmd.Flags().StringVar(&transport, "transport", "", "`name` of the mesh to ask over (default the first that brings an answer)")
	node.add(cmd)
	return cmd
}

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/pipeline"
)

func newPeers(g *globals) *cobra.Command {
	var asJSON bool
	var node adminFlags
	cmd := &cobra.Command{
		Use:   "peers",
		Short: "Show the mesh as a running node sees it",
		Long: `Peers asks the running node of the configuration file, at its admin address, how it reaches each of its peers in a mesh: directly over
TCP or QUIC, relayed by a third node, or not at all, since when, and why not.
  WANTS    how many filters the peer wants from this node
  PROFILE  number of the newest of its profiles that is known here
  FEED     the last of its broadcasts that was taken here, and the newest that is here
  MISSED   broadcasts that were gone before they could be had
  WAITING  frames that it has not confirmed yet`,
		Example: `  weft peers
  weft peers -c alice.yaml --json
  weft peers ping bob`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := node.status(cmd.Context(), g)
			if err != nil {
				return err
			}
			views := viewMeshes(s)
			switch {
			case len(views) == 0:
				return fmt.Errorf("%s has no mesh: no transport of type kademlia; `weft status` shows the peers of others", s.Node)
			case asJSON:
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(views)
			}
			return printMeshes(cmd.OutOrStdout(), views)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: a list of meshes, each with its peers")
	node.add(cmd)
	cmd.AddCommand(newPeersPing(g))
	return cmd
}

// meshView is a mesh with all that is known of its peers.
type meshView struct {
	Transport string `json:"transport"`
	pipeline.Mesh
	Peers []peerView `json:"peers"`
}

type peerView struct {
	pipeline.Reach
	Filters []string `json:"filters"` // that it wants from this node
}

func viewMeshes(s *pipeline.Status) (views []meshView) {
	for _, name := range slices.Sorted(maps.Keys(s.Transports)) {
		m := s.Transports[name].Mesh
		if m == nil {
			continue
		}
		view := meshView{Transport: name, Mesh: *m, Peers: []peerView{}}
		for _, r := range m.Peers {
			p := peerView{Reach: r, Filters: []string{}}
			for _, listed := range s.Peers {
				if listed.Name == r.Peer && listed.Transport == name {
					p.Filters = append(p.Filters, listed.Filters...)
				}
			}
			view.Peers = append(view.Peers, p)
		}
		views = append(views, view)
	}
	return views
}

func printMeshes(out io.Writer, views []meshView) error {
	for i := range views {
		v := &views[i]
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%s: nodes connected: %d, public: %s\n", v.Transport, v.Nodes, public(&v.Mesh))
		for _, address := range v.Addresses {
			fmt.Fprintf(out, "  reached at %s\n", address)
		}
		w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "PEER\tHOW\tSINCE\tLATENCY\tWANTS\tPROFILE\tFEED\tMISSED\tWAITING\tADDRESS")
		for _, p := range v.Peers {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\n",
				p.Peer, p.How, p.Since.Format(time.DateTime), known(p.Latency > 0, latency(p.Latency)), len(p.Filters),
				known(p.Profile > 0, strconv.FormatUint(p.Profile, 10)), feed(p.Feed), p.InFlight,
				known(p.Address+p.Trouble != "", strings.TrimPrefix(p.Address+because(p.Trouble), ": ")))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// known returns the words if there is anything to say.
func known(is bool, words string) string {
	if !is {
		return "-"
	}
	return words
}

// feed returns two columns: how far this node is with a peer's broadcasts, and how many it has missed.
func feed(f *pipeline.FeedPlace) string {
	if f == nil {
		return "-\t-"
	}
	return fmt.Sprintf("%d of %d\t%d", last(f.Taken), last(f.Next), f.Missed)
}

// last returns the number before next, or 0 where there is none.
func last(next uint64) uint64 { return next - min(next, 1) }

package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-relay/weft/pipeline"
)

func newStatus(g *globals) *cobra.Command {
	var asJSON bool
	var node adminFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Ask a running node how it is",
		Long: `Status asks the running node of the configuration file, at its admin address: broker, transports, peers, lanes and errors, and of a
mesh at which addresses this node is reached and how it reaches each peer.
It exits with status 1 when something needs a person: the node has a problem (/readyz says the same), its changed
file was not taken up, what a peer has announced cannot be read, or a peer that has announced itself does not list
this node. A peer that has never been heard of and a lane that was left behind are shown, and are no reason for status 1.
Of the file it needs admin.listen alone, whatever else is wrong there.`,
		Example: `  weft status
  weft status -c alice.yaml --json
  weft status --address 127.0.0.1:9883`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, body, err := node.status(cmd.Context(), g)
			if err != nil {
				return err
			}
			if asJSON {
				_, err = cmd.OutOrStdout().Write(body)
			} else {
				err = printStatus(cmd.OutOrStdout(), s)
			}
			if err == nil && needsPerson(s) {
				err = errQuiet
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the JSON of /api/v1/status")
	node.add(cmd)
	return cmd
}

func needsPerson(s *pipeline.Status) bool {
	return s.FileProblem != "" || len(s.Problems) > 0 || slices.ContainsFunc(s.Peers, estranged)
}

// estranged reports whether the owners of the two nodes do not agree on their lists of peers.
func estranged(p pipeline.PeerStatus) bool { return p.Problem != "" || p.Known && !p.ListsUs }

func printStatus(out io.Writer, s *pipeline.Status) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "node\t%s\tsince %s\n", s.Node, s.Started.Format(time.DateTime))
	if s.FileProblem != "" {
		fmt.Fprintf(w, "problem\t%s\n", s.FileProblem)
	}
	for _, problem := range s.Problems {
		fmt.Fprintf(w, "problem\t%s\n", problem)
	}
	printReport(w, "broker", s.Broker)
	for _, name := range slices.Sorted(maps.Keys(s.Transports)) {
		printReport(w, "transport "+name, s.Transports[name])
		printMesh(w, s.Transports[name].Mesh)
	}
	for _, p := range s.Peers {
		fmt.Fprintf(w, "peer %s\tover %s\t%s\n", p.Name, p.Transport, wishes(p))
		if estranged(p) && !p.Open {
			fmt.Fprintf(w, "\tin %s's peers\t%s must be, as `weft id` prints it here\n", p.Name, peerEntry(s.Node, s.Key))
			fmt.Fprintf(w, "\tin %s's peers\t%s is; `weft id` there must print the same\n", s.Node, peerEntry(p.Name, p.Key))
		}
	}
	for i := range s.Plugins {
		printPluginStatus(w, &s.Plugins[i])
	}
	for i := range s.Lanes {
		printLane(w, &s.Lanes[i])
	}
	fmt.Fprintf(w, "out\t%d taken\t%d of them wanted by nobody, %d dead letters\n", s.Outgoing.Taken, s.Outgoing.Unwanted, s.Outgoing.DeadLetters)
	fmt.Fprintf(w, "in\t%d delivered", s.Incoming.Delivered)
	if refused := reasons("refused", s.Incoming.Refused); refused != "" {
		fmt.Fprintf(w, "\t%s", refused)
	}
	fmt.Fprintln(w)
	return w.Flush()
}

func printReport(w io.Writer, what string, r pipeline.Report) {
	fmt.Fprintf(w, "%s\t%s\tsince %s, %d reconnects%s%s%s\n",
		what, r.State, r.Since.Format(time.DateTime), r.Reconnects, posts(r), reasons(", dropped", r.Dropped), because(r.Detail))
}

func printPluginStatus(w io.Writer, p *pipeline.PluginStatus) {
	fmt.Fprintf(w, "plugin %s\t%s\t", p.Name, p.State)
	if p.Program != "" { // it has described itself
		fmt.Fprintf(w, "%s %s, ", p.Program, p.Version)
	}
	if p.PID != 0 {
		fmt.Fprintf(w, "pid %d since %s, ", p.PID, p.Since.Format(time.DateTime))
	}
	if p.Memory > 0 { // it has been measured
		fmt.Fprintf(w, "%d MiB, ", p.Memory>>20)
	}
	if p.LinesSkipped > 0 {
		fmt.Fprintf(w, "%d lines not logged, ", p.LinesSkipped)
	}
	fmt.Fprintf(w, "%d restarts%s\n", p.Restarts, because(p.Error))
}

// printMesh says where others reach this node, and how it reaches its peers.
func printMesh(w io.Writer, m *pipeline.Mesh) {
	if m == nil {
		return
	}
	for _, address := range m.Addresses {
		fmt.Fprintf(w, "\treached at\t%s\n", address)
	}
	fmt.Fprintf(w, "\tpublic\t%s\n", public(m))
	for _, p := range m.Peers {
		fmt.Fprintf(w, "\tto %s\t%s since %s", p.Peer, p.How, p.Since.Format(time.DateTime))
		if p.Latency > 0 {
			fmt.Fprintf(w, ", %s", latency(p.Latency))
		}
		fmt.Fprintln(w, because(p.Trouble))
	}
}

func public(m *pipeline.Mesh) string {
	switch m.Public {
	case "yes":
		return "yes, strangers reach this node"
	case "no":
		return "no, strangers do not reach this node"
	default:
		return "unknown, no stranger has tried to reach this node"
	}
}

// latency leaves out the digits that say nothing.
func latency(d time.Duration) string {
	if d < 100*time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// posts says what a transport may still send, where that is counted.
func posts(r pipeline.Report) string {
	p := r.Posts
	if p == nil {
		return ""
	}
	left := fmt.Sprintf("%d left", p.Left)
	switch {
	case p.Exact && p.Left == 0:
		left = "none left beside the margin"
	case p.Left == 0:
		left = "how many are left is not known yet"
	case !p.Exact:
		left = "at least " + left
	}
	text := fmt.Sprintf(", %d posts used, %s", p.Used, left)
	if p.Refill > 0 {
		text += ", one more every " + p.Refill.Round(time.Second).String()
	}
	return text
}

// shownFilters is how many of a peer's filters are printed; the JSON has all.
const shownFilters = 5

func wishes(p pipeline.PeerStatus) string {
	switch {
	case p.Problem != "":
		return p.Problem
	case !p.Known:
		return "not heard of yet"
	case !p.ListsUs:
		return "does not list this node, or lists it with another key: nothing is sent to it"
	case len(p.Filters) == 0:
		return "wants nothing from this node"
	}
	if more := len(p.Filters) - shownFilters; more > 1 {
		return fmt.Sprintf("wants %s, … %d more", strings.Join(p.Filters[:shownFilters], ", "), more)
	}
	return "wants " + strings.Join(p.Filters, ", ")
}

func printLane(w io.Writer, l *pipeline.LaneStatus) {
	fmt.Fprintf(w, "lane %s\t%s\t%d queued (%d bytes), %d sent%s", l.Name, l.State, l.Depth, l.Bytes, l.Delivered, reasons(", dropped", l.Dropped))
	if !l.Oldest.IsZero() {
		fmt.Fprintf(w, ", oldest %s", time.Since(l.Oldest).Round(time.Second))
	}
	if sent := time.Since(l.OnItsWay); !l.OnItsWay.IsZero() && sent >= time.Second {
		fmt.Fprintf(w, ", a frame on its way for %s", sent.Round(time.Second))
	}
	fmt.Fprintln(w, because(l.Error))
}

// because puts a reason behind what it is the reason of, if there is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// reasons lists counts by reason after a word, or nothing where nothing was counted.
func reasons(word string, counts map[string]uint64) string {
	if len(counts) == 0 {
		return ""
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[reason], reason))
	}
	return word + " " + strings.Join(parts, ", ")
}

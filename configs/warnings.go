package configs

import (
	"fmt"
	"net"
	"slices"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline"
)

// maxCompared bounds how many subscriptions are compared with each other, which takes the square of them: a tenth of a second.
const maxCompared = 2000

// Warnings returns what the file may say, and hardly means: a node runs with it.
func (f *File) Warnings() Problems {
	var found Problems
	warn := func(key, format string, args ...any) {
		found = append(found, f.source.problem(key, fmt.Sprintf(format, args...)))
	}
	for i, s := range f.Node.Subscribe[:min(len(f.Node.Subscribe), maxCompared)] {
		covers := func(earlier pipeline.Subscription) bool { return f.takesAll(earlier, s) }
		if first := slices.IndexFunc(f.Node.Subscribe[:i], covers); first >= 0 {
			warn(fmt.Sprintf("subscribe[%d]", i), "never applies: subscribe[%d], %q, matches all of %q first; put the narrower one before it", first, f.Node.Subscribe[first].Filter, s.Filter)
		}
	}
	for i, r := range f.Node.Routes {
		if r.Mode == pipeline.Direct && len(f.Node.Peers) == 0 {
			warn(fmt.Sprintf("routes[%d]", i), "carries nothing: it goes to peers, and none is listed; list them in peers, or write mode: broadcast")
		}
	}
	routes := f.Node.Routes[:min(len(f.Node.Routes), maxCompared)]
	for i, r := range routes {
		first := slices.IndexFunc(routes, func(other pipeline.Route) bool { return f.leavesNothing(other, r) })
		if len(f.RouteStages[r.Name]) == 0 && first >= 0 {
			warn(fmt.Sprintf("routes[%d]", i), "carries nothing: route %s has stages, and so takes all that this one matches first; narrow that one", routes[first].Name)
		}
	}
	if Exposed(f.Admin.Listen) {
		warn("admin.listen", "%s is reached from other machines, and it asks for no password; listen on 127.0.0.1, or behind a proxy that asks", f.Admin.Listen)
	}
	return found
}

// leavesNothing reports whether a route has stages, and takes all that the other one matches to the same nodes.
func (f *File) leavesNothing(r, other pipeline.Route) bool {
	if len(f.RouteStages[r.Name]) == 0 || r.To != other.To || r.Mode != other.Mode {
		return false
	}
	left := func(filter string) bool {
		return !slices.ContainsFunc(r.Match, func(wide string) bool { return matching.Covers(wide, filter) })
	}
	return !slices.ContainsFunc(other.Match, left)
}

// takesAll reports whether the later of two subscriptions is left nothing, since the first that matches applies.
func (f *File) takesAll(first, later pipeline.Subscription) bool {
	if !matching.Covers(first.Filter, later.Filter) {
		return false
	}
	asked := later.From
	if len(asked) == 0 {
		for _, p := range f.Node.Peers {
			asked = append(asked, p.Name)
		}
	}
	missed := func(peer string) bool { return !slices.Contains(first.From, peer) }
	return len(first.From) == 0 || len(asked) > 0 && !slices.ContainsFunc(asked, missed)
}

// Exposed reports whether what listens at the address, HOST:PORT, is reached from other machines.
func Exposed(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil || host == "localhost" {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}

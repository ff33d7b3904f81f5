package pipeline

import (
	"fmt"
	"slices"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/lanes"
)

// route is a configured route with its lanes.
type route struct {
	Route
	lanes     []*lanes.Lane // direct: one a peer, by the peer's index; broadcast: one
	interests *interests    // direct: who wants what
}

// laneName is how a lane is called in its store, in status and in metrics: the route, and the peer or "*" for everybody.
func laneName(route, peer string) string {
	if peer == "" {
		peer = "*"
	}
	return route + "/" + peer
}

// newRoute opens the route's lanes.
func newRoute(cfg Route, store *lanes.Store, peers []*peer, in *interests) *route {
	r := &route{Route: cfg, interests: in}
	if cfg.Mode == Broadcast {
		r.lanes = []*lanes.Lane{store.Lane(laneName(cfg.Name, ""), cfg.Queue)}
		return r
	}
	r.lanes = make([]*lanes.Lane, len(peers))
	for i, p := range peers {
		r.lanes[i] = store.Lane(laneName(cfg.Name, p.Name), cfg.Queue)
	}
	return r
}

// addressing finds the lanes that a message is due in. For each peer the first direct route that matches and whose
// transport the peer has announced its wish on carries the message, and of the broadcast routes over one transport the
// first, so that overlapping routes double nothing. What a peer wants that has not announced itself anywhere yet is not
// known: the first direct route that matches keeps the message for it, and its delivery sorts out what is wanted.
// It is used by one goroutine at a time.
type addressing struct {
	routes    []*route
	byTopic   *matching.Set[int] // filters to indexes of routes
	peers     []*peer
	interests []*interests // of all direct routes

	views     []*view // of the interests, when strangers was made
	strangers []int   // indexes of the peers that have nowhere announced what they want of this node

	matched []int // scratch
	wanted  []int
	round   uint64
	served  []uint64        // by peer: the round in which a direct route served it
	fed     map[string]bool // transports that a broadcast route was found for
}

func newAddressing(routes []*route, peers []*peer) (*addressing, error) {
	set, err := matching.NewSet(func(yield func(string, int) bool) {
		for i, r := range routes {
			for _, f := range r.Match {
				if !yield(f, i) {
					return
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("routes: %w", err)
	}
	a := &addressing{routes: routes, byTopic: set, peers: peers, served: make([]uint64, len(peers)), fed: map[string]bool{}}
	for _, r := range routes {
		if r.Mode == Direct && !slices.Contains(a.interests, r.interests) {
			a.interests = append(a.interests, r.interests)
		}
	}
	a.views = make([]*view, len(a.interests))
	return a, nil
}

// due appends the lanes that a message on the topic is due in, and returns the highest QoS that one of them carries.
func (a *addressing) due(dst []*lanes.Lane, topic string) ([]*lanes.Lane, byte) {
	a.matched = a.byTopic.AppendMatch(a.matched[:0], topic)
	slices.Sort(a.matched)
	a.round++
	clear(a.fed)
	a.look()
	strangers := a.strangers
	var qos byte
	for _, i := range a.matched {
		r, before := a.routes[i], len(dst)
		if r.Mode == Broadcast {
			if !a.fed[r.To] {
				a.fed[r.To] = true
				dst = append(dst, r.lanes[0])
			}
		} else {
			dst = a.direct(dst, r, topic)
			for _, p := range strangers {
				dst = append(dst, r.lanes[p])
			}
			strangers = nil
		}
		if len(dst) > before {
			qos = max(qos, r.QoS)
		}
	}
	return dst, qos
}

func (a *addressing) direct(dst []*lanes.Lane, r *route, topic string) []*lanes.Lane {
	a.wanted = a.views[slices.Index(a.interests, r.interests)].wants.AppendMatch(a.wanted[:0], topic)
	for _, p := range a.wanted {
		if a.served[p] != a.round {
			a.served[p] = a.round
			dst = append(dst, r.lanes[p])
		}
	}
	return dst
}

// look finds the strangers anew when the peers have announced something.
func (a *addressing) look() {
	changed := false
	for i, in := range a.interests {
		if v := in.view.Load(); v != a.views[i] {
			a.views[i], changed = v, true
		}
	}
	if !changed {
		return
	}
	a.strangers = a.strangers[:0]
	for i, p := range a.peers {
		if !slices.ContainsFunc(a.views, func(v *view) bool { prof := v.known[p.Name]; return prof != nil && prof.Listed }) {
			a.strangers = append(a.strangers, i)
		}
	}
}

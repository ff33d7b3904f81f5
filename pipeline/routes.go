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
// first, so that overlapping routes double nothing. It is used by one goroutine at a time.
type addressing struct {
	routes  []*route
	byTopic *matching.Set[int] // filters to indexes of routes

	matched []int // scratch
	wanted  []int
	round   uint64
	served  []uint64        // by peer: the round in which a direct route served it
	fed     map[string]bool // transports that a broadcast route was found for
}

func newAddressing(routes []*route, peers int) (*addressing, error) {
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
	return &addressing{routes: routes, byTopic: set, served: make([]uint64, peers), fed: map[string]bool{}}, nil
}

// due appends the lanes that a message on the topic is due in, and returns the highest QoS that one of them carries.
func (a *addressing) due(dst []*lanes.Lane, topic string) ([]*lanes.Lane, byte) {
	a.matched = a.byTopic.AppendMatch(a.matched[:0], topic)
	slices.Sort(a.matched)
	a.round++
	clear(a.fed)
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
		}
		if len(dst) > before {
			qos = max(qos, r.QoS)
		}
	}
	return dst, qos
}

func (a *addressing) direct(dst []*lanes.Lane, r *route, topic string) []*lanes.Lane {
	a.wanted = r.interests.set.Load().AppendMatch(a.wanted[:0], topic)
	for _, p := range a.wanted {
		if a.served[p] != a.round {
			a.served[p] = a.round
			dst = append(dst, r.lanes[p])
		}
	}
	return dst
}

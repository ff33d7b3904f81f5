package pipeline

import (
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// route is a configured route with its lanes.
type route struct {
	Route
	lanes     []*lanes.Lane     // direct: one a peer, by the peer's index, nil where the transport does not reach it; broadcast: one
	interests *interests        // direct: who wants what
	transport message.Publisher // what it goes over
	stages    *lanes.Lane       // where what it matches waits for its stages; nil where it has none
	limit     func() int        // largest frame the transport takes, 0 when unknown
}

// carries reports whether the route is a way to the peer for messages on the topic, which the peer wants.
func (r *route) carries(topic string, to *peer) bool {
	return slices.ContainsFunc(r.Match, func(f string) bool { return matching.Match(f, topic) }) &&
		r.interests.view.Load().wantedBy(to, topic)
}

// bare reports whether the route's transport carries single messages to the Publish topic.
func (r *route) bare(topic string) bool {
	b, ok := r.transport.(transports.Bare)
	return ok && b.Bare(topic)
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
		if !p.reachedOver(cfg.To) {
			continue
		}
		r.lanes[i] = store.Lane(laneName(cfg.Name, p.Name), cfg.Queue)
	}
	return r
}

// gate is a route with stages as the messages meet it that come from the broker: it takes what it matches, for all peers that it reaches.
func (r *route) gate(cfg Route, store *lanes.Store) *route {
	g := *r
	g.Route, g.stages = cfg, store.Lane(stagesName(cfg.Name), cfg.Queue)
	return &g
}

// stagesName is the name of the lane in which a route's messages wait for its stages. No peer has a name like it.
func stagesName(route string) string { return laneName(route, "+stages") }

// everything matches what comes out of a route's stages, whatever its topic is by then.
var everything = []string{"#"}

// addressing finds the lanes that a message is due in. A route with stages comes first: what it matches waits there for all peers that it
// reaches, and is addressed again behind them. For each other peer the first direct route that matches and whose
// transport the peer has announced its wish on carries the message, and of the broadcast routes over one transport the
// first, so that overlapping routes double nothing. What a peer wants that has not been heard of since the start is not
// known: the first direct route that matches and whose transport reaches it keeps the message for it, and its delivery sorts out what is wanted and how it
// gets there. Until that is done, what is new for the peer goes the same way, so that nothing overtakes.
// It is used by one goroutine at a time.
type addressing struct {
	routes    []*route
	byTopic   *matching.Set[int] // filters to indexes of routes
	peers     []*peer
	interests []*interests // of all direct routes

	views     []*view // of the interests, at the last look
	strangers []int   // indexes of the peers that have nowhere announced what they want of this node
	late      [][]int // by route: indexes of the peers that it keeps something for, heard of so far over other transports alone

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
	a := &addressing{
		routes: routes, byTopic: set, peers: peers,
		late: make([][]int, len(routes)), served: make([]uint64, len(peers)), fed: map[string]bool{},
	}
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
	dst, qos := a.staged(dst)
	for _, i := range a.matched {
		r, before := a.routes[i], len(dst)
		switch {
		case r.stages != nil:
		case r.Mode == Direct:
			dst = a.direct(dst, i, topic)
		case !a.fed[r.To]:
			a.fed[r.To] = true
			dst = append(dst, r.lanes[0])
		}
		if len(dst) > before {
			qos = max(qos, r.QoS)
		}
	}
	for _, p := range a.strangers {
		if a.served[p] == a.round {
			continue
		}
		if r := a.keeper(p); r != nil {
			dst, qos = append(dst, r.lanes[p]), max(qos, r.QoS)
		}
	}
	return dst, qos
}

// staged appends the lanes of the routes with stages among those that match.
func (a *addressing) staged(dst []*lanes.Lane) (_ []*lanes.Lane, qos byte) {
	for _, i := range a.matched {
		r := a.routes[i]
		if r.stages == nil {
			continue
		}
		dst, qos = append(dst, r.stages), max(qos, r.QoS)
		if r.Mode == Broadcast {
			a.fed[r.To] = true
			continue
		}
		for p, lane := range r.lanes {
			if lane != nil {
				a.served[p] = a.round
			}
		}
	}
	return dst, qos
}

// keeper returns the first direct route of those that match that has a lane for the peer, or nil.
func (a *addressing) keeper(p int) *route {
	for _, i := range a.matched {
		if r := a.routes[i]; r.Mode == Direct && r.stages == nil && r.lanes[p] != nil {
			return r
		}
	}
	return nil
}

func (a *addressing) direct(dst []*lanes.Lane, i int, topic string) []*lanes.Lane {
	r := a.routes[i]
	for _, p := range a.late[i] {
		if a.served[p] != a.round && a.carried(topic, p) {
			a.served[p] = a.round
			dst = append(dst, r.lanes[p])
		}
	}
	a.wanted = a.view(r).wants.AppendMatch(a.wanted[:0], topic)
	for _, p := range a.wanted {
		if a.served[p] != a.round {
			a.served[p] = a.round
			dst = append(dst, r.lanes[p])
		}
	}
	return dst
}

// carried reports whether one of the routes that match carries the topic to the peer.
func (a *addressing) carried(topic string, p int) bool {
	return slices.ContainsFunc(a.matched, func(i int) bool {
		r := a.routes[i]
		return r.Mode == Direct && r.stages == nil && a.view(r).wantedBy(a.peers[p], topic)
	})
}

// view returns what is wanted of a direct route.
func (a *addressing) view(r *route) *view { return a.views[slices.Index(a.interests, r.interests)] }

// look takes note of what the peers have announced. It comes before each run of messages, when all of the last one are in their
// lanes: within a run the way to a peer does not change.
func (a *addressing) look() {
	changed := false
	for i, in := range a.interests {
		if v := in.view.Load(); v != a.views[i] {
			a.views[i], changed = v, true
		}
	}
	if changed {
		a.lookForPeers()
	}
	for i, r := range a.routes {
		a.late[i] = slices.DeleteFunc(a.late[i], func(p int) bool { return r.lanes[p].Empty() })
	}
}

func (a *addressing) lookForPeers() {
	a.strangers = a.strangers[:0]
	for i := range a.late {
		a.late[i] = a.late[i][:0]
	}
	for i, p := range a.peers {
		if !slices.ContainsFunc(a.views, func(v *view) bool { return v.current(p) }) {
			a.strangers = append(a.strangers, i)
		}
		if !slices.ContainsFunc(a.views, func(v *view) bool { return v.lists(p) }) {
			continue
		}
		for j, r := range a.routes {
			if r.Mode == Direct && r.stages == nil && r.lanes[i] != nil && !a.view(r).current(p) {
				a.late[j] = append(a.late[j], i)
			}
		}
	}
}

package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/pipeline/stage"
	"github.com/weft-relay/weft/transports"
)

// buildBoard makes what is known of the peers' wishes over a transport, and what follows them if it has a directory.
func (n *Node) buildBoard(transport string, peers []*peer) error {
	open := slices.Contains(n.open, transport)
	in, err := newInterests(transport, open, n.cfg.DataDir, n.id, peers, &n.news, n.log)
	if err != nil {
		return err
	}
	n.interests[transport] = in
	switch t := n.transports[transport].(type) {
	case transports.OpenDirectory:
		n.boards = append(n.boards, newOpenDirectory(n.cfg, t, in, n.log))
	case transports.Directory:
		n.boards = append(n.boards, newDirectory(n.cfg, n.id, t, in, n.log))
	}
	return nil
}

// buildOut makes the routes with their lanes, the handler that fills these and the handlers that empty them.
func (n *Node) buildOut(peers []*peer) (err error) {
	if n.outRouter, err = newRouter("out", n.log); err != nil {
		return err
	}
	if n.deliverRouter, err = newRouter("deliver", n.log); err != nil {
		return err
	}
	routes := make([]*route, len(n.cfg.Routes))
	for i, cfg := range n.cfg.Routes {
		if routes[i], err = n.buildRoute(cfg, peers); err != nil {
			return err
		}
	}
	for _, r := range routes {
		if r.stages == nil { // else its deliveries are those of what comes out of them
			n.buildDeliveries(r, routes, peers)
		}
	}
	addresses, err := newAddressing(routes, peers)
	if err != nil {
		return err
	}
	n.out = &out{store: n.store, addresses: addresses, log: n.log}
	if len(routes) > 0 {
		n.outRouter.add("source", "", gather{source{n.broker, sourceFilters(n.cfg.Routes)}}, n.out.handle)
	}
	return nil
}

// buildRoute makes a route with its lanes and, where it has stages, what runs them.
func (n *Node) buildRoute(cfg Route, peers []*peer) (*route, error) {
	r := newRoute(cfg, n.store, peers, n.interests[cfg.To])
	if err := n.lead(r); err != nil {
		return nil, err
	}
	steps := n.steps.Routes[cfg.Name]
	if len(steps) == 0 {
		return r, n.release(r, peers)
	}
	gate := r.gate(cfg, n.store)
	r.Match = everything
	behind, err := newAddressing([]*route{r}, peers)
	if err != nil {
		return nil, err
	}
	n.buildDeliveries(r, nil, peers)
	n.stage(n.deliverRouter, gate.stages, cfg.Queue, steps, n.cfg.Node, behind.due, behind.look)
	return gate, nil
}

// stage adds to a router what takes the messages of a lane, which come from that node, through stages.
func (n *Node) stage(
	in *router, lane *lanes.Lane, limits lanes.Limits, steps []stage.Step, origin string, due func([]*lanes.Lane, string) ([]*lanes.Lane, byte), look func(),
) {
	s := &staging{
		lane: lane, limits: limits, store: n.store, chain: newChain(steps), origin: origin, due: due, look: look,
		dead: n.dead, log: n.log.With("lane", lane.Name()),
	}
	n.stagings = append(n.stagings, s)
	in.add(lane.Name(), lane.Name(), s, s.handle)
}

// lead leads a route to its transport.
func (n *Node) lead(r *route) error {
	publisher, ok := n.transports[r.To].(message.Publisher)
	if !ok {
		return fmt.Errorf("route %s: transport %s cannot publish", r.Name, r.To)
	}
	r.transport, r.limit = publisher, func() int { return 0 }
	if m, ok := publisher.(transports.MaxPayloader); ok {
		r.limit = m.MaxPayload
	}
	return nil
}

func (n *Node) buildDeliveries(r *route, all []*route, peers []*peer) {
	var others []*route
	for _, other := range all {
		if other.Mode == Direct && other.stages == nil && other.To != r.To {
			others = append(others, other)
		}
	}
	for i, lane := range r.lanes {
		if lane == nil {
			continue
		}
		d := &delivery{
			node: n.cfg.Node, id: n.id, route: r, epoch: n.store.Epoch(),
			lane: lane, drained: n.drained, dead: n.dead, log: n.log.With("lane", lane.Name()),
		}
		if r.Mode == Direct {
			d.to, d.others = peers[i], others
		}
		n.deliveries = append(n.deliveries, d)
		reader := &laneReader{lane: lane, batch: r.Batch, origin: n.cfg.Node, epoch: n.store.Epoch(), hope: n.news.listen}
		n.deliverRouter.add(lane.Name(), lane.Name(), reader, d.handle)
	}
}

// buildIn makes the handlers of what the transports bring.
func (n *Node) buildIn(peers []*peer) (err error) {
	if n.inRouter, err = newRouter("in", n.log); err != nil {
		return err
	}
	kept, err := newKeptFrames(n.cfg.DataDir)
	if err != nil {
		return err
	}
	if n.in, err = newIn(n.cfg, peers, n.store, n.broker, n.dead, kept, n.log); err != nil {
		return err
	}
	n.buildReceptions(peers)
	n.inRouter.add("kept", "", gather{kept}, n.in.from(byName(peers)))
	for name, t := range n.transports {
		var who users
		if slices.Contains(n.open, name) {
			who = usersOf(peers, name)
		}
		sub, ok := t.(message.Subscriber)
		if !ok {
			continue
		}
		for _, topic := range []string{transports.Inbox, transports.Feed} {
			n.inRouter.add(name+"/"+topic, topic, gather{afterKept{lent{sub}, kept}}, n.in.from(who))
		}
	}
	return nil
}

// orphanAge is how long the messages of a lane are kept whose route or peer is no longer configured.
const orphanAge = 7 * 24 * time.Hour

// keepOrphans removes the lanes of routes and peers that are no longer configured, but for those that hold messages: a name
// may have been mistyped, and then the next start finds them again.
func (n *Node) keepOrphans() {
	for _, name := range n.store.Orphans() {
		lane := n.store.Lane(name, lanes.Limits{Age: orphanAge})
		if queued := lane.Stats().Depth; queued > 0 {
			n.log.Warn("lane has messages but no route and peer in the configuration; they are kept for 7 days, in case its name comes back", "lane", name, "queued", queued)
			n.orphans = append(n.orphans, lane)
			continue
		}
		n.store.Remove(name)
	}
}

// releaseTime bounds how long a node that is built moves what waits for stages that are no more.
const releaseTime = time.Minute

// release moves what waits for stages that the route has no more to its lanes: what comes from now on goes behind it.
func (n *Node) release(r *route, peers []*peer) error {
	name := stagesName(r.Name)
	if !n.waits(name) {
		return nil
	}
	all := *r
	all.Match = everything
	behind, err := newAddressing([]*route{&all}, peers)
	if err != nil {
		return err
	}
	limit := func(to lanes.Limits) {
		for _, l := range r.lanes {
			if l != nil {
				l.SetLimits(to)
			}
		}
	}
	limit(lanes.Limits{}) // their room may be used up, and nothing makes any yet
	defer limit(r.Queue)
	log := n.log.With("lane", name)
	s := &staging{lane: n.store.Lane(name, lanes.Limits{}), store: n.store, due: behind.due, look: behind.look, dead: n.dead, log: log}
	ctx, cancel := context.WithTimeout(context.Background(), releaseTime)
	defer cancel()
	if err := s.pass(ctx); err != nil {
		log.Error("messages wait for stages that the route has no more; the next start tries again to move them on", "error", err)
		n.orphans = append(n.orphans, s.lane)
		return nil
	}
	n.store.Remove(name)
	return nil
}

// waits reports whether a lane from before, which nothing has claimed yet, holds messages. It removes one that does not.
func (n *Node) waits(name string) bool {
	if !slices.Contains(n.store.Orphans(), name) {
		return false
	}
	empty := n.store.Lane(name, lanes.Limits{}).Empty()
	if empty {
		n.store.Remove(name)
	}
	return !empty
}

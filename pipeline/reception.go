package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/lanes"
)

// reception is what a peer sends for a subscription with stages, on its way to the broker: a lane before the stages, which its frames
// are taken over into, and one behind them.
type reception struct {
	in    *in
	node  string
	epoch uint64
	ready *lanes.Lane
	qos   byte // the subscription's highest
}

// receptionLimits bound both lanes: those of a route that says nothing else.
var receptionLimits = lanes.Limits{Bytes: 1 << 30, Age: 7 * 24 * time.Hour, WhenFull: lanes.DropOldest}

// receptionBatch bounds what is handed to the broker at once.
var receptionBatch = Batch{Count: maxRun, Bytes: maxBatchBytes}

// buildReceptions makes the lanes of the subscriptions with stages, one pair a peer, and what empties them.
func (n *Node) buildReceptions(peers []*peer) {
	for i := range n.cfg.Subscribe {
		sub := &n.cfg.Subscribe[i]
		steps := n.steps.Subscription(i)
		waiting := make(map[string]*lanes.Lane, len(peers))
		for _, p := range peers {
			in, out := receptionName("in", p.Name, sub.Filter), receptionName("ready", p.Name, sub.Filter)
			// Where stages are no more, what came before that goes ahead of what comes now.
			if !n.first(i, p.Name) || len(steps) == 0 && !n.waits(in) && !n.waits(out) {
				continue
			}
			before, ready := n.store.Lane(in, receptionLimits), n.store.Lane(out, receptionLimits)
			r := &reception{in: n.in, node: n.cfg.Node, epoch: n.store.Epoch(), ready: ready, qos: sub.MaxQoS}
			n.stage(n.inRouter, before, receptionLimits, steps, p.Name, r.due, func() {})
			reader := &laneReader{lane: r.ready, batch: receptionBatch, origin: n.cfg.Node, epoch: r.epoch, hope: n.news.listen}
			n.inRouter.add(r.ready.Name(), r.ready.Name(), reader, r.handle)
			waiting[p.Name] = before
		}
		n.in.waiting[sub] = waiting
	}
}

// first reports whether a subscription asks for what a peer sends, and none before it takes that away under the same filter.
func (n *Node) first(i int, peer string) bool {
	first := slices.IndexFunc(n.cfg.Subscribe, func(s Subscription) bool { return s.Filter == n.cfg.Subscribe[i].Filter && s.asks(peer) })
	return first == i
}

// receptionName is the name of a lane of what a peer sends for a subscription. No lane of a route has a name like it.
func receptionName(place, peer, filter string) string { return place + "/" + peer + "/" + filter }

// due says that all that comes out of the stages goes to the broker.
func (r *reception) due(dst []*lanes.Lane, _ string) ([]*lanes.Lane, byte) {
	return append(dst, r.ready), r.qos
}

// handle hands what comes out of the stages to the broker.
func (r *reception) handle(msg *message.Message) error {
	ctx := context.WithoutCancel(msg.Context()) // what was begun may finish while the router closes
	run := batchOf(msg)
	done, _ := r.in.store.Done(r.node, r.ready.ID(), r.epoch)
	var batch []*message.Message
	for i := range run {
		m := &run[i]
		uuid := lanes.ID{Origin: r.node, Lane: r.ready.ID(), Epoch: r.epoch, Seq: m.Seq}.String()
		if m.Seq <= done || m.QoS == 2 && r.in.store.Handed(uuid) { // before a crash
			continue
		}
		batch = append(batch, published(ctx, uuid, m.Topic, m.QoS, m))
	}
	if len(batch) > 0 {
		if err := r.in.publish(ctx, batch); err != nil {
			return err
		}
	}
	r.in.store.SetDone(r.node, r.ready.ID(), r.epoch, run[len(run)-1].Seq)
	return nil
}

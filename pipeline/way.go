package pipeline

import (
	"errors"
	"slices"
	"time"

	"github.com/weft-relay/weft/pipeline/frame"
)

var (
	errStranger = errors.New("the peer has not announced yet what it wants")
	errUnseen   = errors.New("the peer's announcement has not come since the start; what it wanted before is sent, the rest waits")
	errNoRoute  = errors.New("the peer is heard of over another transport alone, and no route carries this there; add one")
	errOtherKey = errors.New("what the peer announced last is not signed with the key listed for it, so that it may not be able to read what is sealed with that; if it has a new key, list it with what `weft id` prints there")
	errUnlisted = errors.New("the peer does not list this node yet; give its owner what `weft id` prints here")
)

// patience is how long a message for a peer that is heard of over other transports alone waits for the peer to be heard of over its
// own, when no route carries it there.
const patience = time.Minute

// stretch is the first messages of a batch, as far as they go the same way.
type stretch struct {
	all    []frame.Message // those that have not left the lane yet
	wanted []frame.Message // of them, those that are published; the peer does not want the others
	gaps   bool            // there are others
	by     *route
}

// plan returns the first stretch of the batch. What was kept before the peer's wishes were known, and what it has ceased to want, is
// not wanted. An error says why nothing can be said of the first message yet.
func (d *delivery) plan(batch []frame.Message) (stretch, error) {
	if d.to == nil {
		return stretch{all: batch, wanted: batch, by: d.route}, nil
	}
	var r stretch
	for i := range batch {
		by, err := d.way(batch[i].Topic)
		if by != nil && by.interests.hasOtherKey(d.to) {
			by, err = nil, errOtherKey
		}
		switch {
		case err != nil && i == 0:
			return r, err
		case err != nil, by != nil && r.by != nil && by != r.by:
			return r, nil
		case by == nil && !r.gaps:
			r.gaps, r.wanted = true, slices.Clone(r.wanted)
		case by == nil:
		case r.gaps:
			r.by, r.wanted = by, append(r.wanted, batch[i])
		default:
			r.by, r.wanted = by, batch[:i+1]
		}
		r.all = batch[:i+1]
	}
	return r, nil
}

// way returns the route by which a message on the topic goes to the peer: this one, unless the peer is heard of over other
// transports alone. It is nil where the peer does not want the message, and an error where that is not known yet.
func (d *delivery) way(topic string) (*route, error) {
	if d.unsure != nil && d.unsure.carries(topic, d.to) {
		return d.unsure, nil // by another route it might come twice
	}
	own := d.route.interests.view.Load()
	switch {
	case own.wantedBy(d.to, topic):
		return d.route, nil
	case own.current(d.to):
		return nil, nil
	}
	return d.detour(own, topic)
}

// detour is way for what the peer has not asked for over the route's own transport. A peer wants the same over all of them.
func (d *delivery) detour(own *view, topic string) (*route, error) {
	wanted, heard := false, time.Time{}
	for _, r := range d.others {
		if r.carries(topic, d.to) {
			return r, nil
		}
		v := r.interests.view.Load()
		wanted = wanted || v.wantedBy(d.to, topic)
		if v.current(d.to) {
			heard = v.seen[d.to.Name]
		}
	}
	prof := own.known[d.to.Name]
	switch {
	case !heard.IsZero() && !wanted:
		return nil, nil
	case prof == nil && wanted && !heard.IsZero() && time.Since(heard) >= patience:
		return nil, nil
	case prof == nil && wanted:
		return nil, errNoRoute
	case prof == nil:
		return nil, errStranger
	case !prof.Listed:
		return nil, errUnlisted
	}
	return nil, errUnseen
}

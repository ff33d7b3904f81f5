package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/weft-relay/weft/pipeline/frame"
)

// open returns what a frame holds and whose it is. The origin is empty unless it is a peer that has signed the frame, or that the
// network has authenticated as its sender. A peer with a key signs over every network, one without is believed of the network alone.
func (n *in) open(who users, msg *message.Message) (f *frame.Frame, origin string, err error) {
	sender := who.sender(msg)
	e, err := frame.Parse(msg.Payload)
	switch {
	case err != nil && !errors.Is(err, frame.ErrVersion):
		return nil, nameOf(sender), err
	case e.Origin == n.node:
		return nil, "", errOwnFrame
	}
	p := n.peers[e.Origin]
	if p == nil {
		return nil, "", fmt.Errorf("%w: it says it is from %.64q", frame.ErrStranger, e.Origin)
	}
	proven := e.SignedBy(p.Key) || p == sender && len(p.Key) == 0
	switch {
	case e.To != "" && e.To != n.node:
		return nil, "", fmt.Errorf("%w: from %s for %.64q", frame.ErrRecipient, e.Origin, e.To)
	case proven && err != nil:
		return nil, p.Name, err
	case proven:
		f, err = e.OpenProven(n.node, p.opener)
		return f, p.Name, err
	case p == sender:
		origin = p.Name
	}
	why := "whose key is another one; list it with what `weft id` prints there"
	switch {
	case len(p.Key) == 0:
		why = "which is listed without a key, and the network does not say so"
	case e.Plain:
		why = "which is listed with a key and must sign; its owner must list this node with its key as well"
	}
	return nil, origin, fmt.Errorf("%w: it says it is from %s, %s", frame.ErrSignature, p.Name, why)
}

// nameOf returns the name of a peer, empty where there is none.
func nameOf(p *peer) string {
	if p == nil {
		return ""
	}
	return p.Name
}

var errOwnFrame = errors.New("frame of this node came back")

// refuse counts a frame that is not taken. It is acknowledged, for it would be no better the next time; one of a peer goes to the
// dead letters first, or, if it is of a newer version, is kept.
func (n *in) refuse(ctx context.Context, msg *message.Message, origin string, err error) error {
	reason := reasonOf(err)
	switch {
	case origin == "":
	case reason == refusedVersion:
		lost, keepErr := n.kept.keep(origin, msg.Payload)
		if keepErr != nil {
			return keepErr
		}
		if lost > 0 && n.refused.add(refusedEvicted, uint64(lost)) {
			n.log.Warn("frame of a newer version given up for want of room, further ones are only counted", "peer", origin)
		}
	default:
		letter := deadLetter{Reason: err.Error(), Lane: "from " + origin, Time: time.Now(), Payload: msg.Payload}
		if err := n.bury(ctx, origin, letter); err != nil {
			return err
		}
	}
	if first := n.refused.add(reason, 1); first {
		n.log.Warn("frame refused, further ones are only counted", "reason", reason, "error", err)
	}
	return nil
}

func reasonOf(err error) string {
	switch {
	case errors.Is(err, frame.ErrVersion):
		return refusedVersion
	case errors.Is(err, frame.ErrStranger):
		return refusedStranger
	case errors.Is(err, frame.ErrSignature):
		return refusedSignature
	case errors.Is(err, frame.ErrRecipient):
		return refusedRecipient
	case errors.Is(err, errOwnFrame):
		return refusedLoop
	}
	return refusedMalformed
}

// bury moves what a peer has sent to the dead letters, or only counts it when that peer has caused too many. An error means that it
// must be tried again.
func (n *in) bury(ctx context.Context, origin string, letter deadLetter) error {
	if !n.letters.take(origin) {
		if n.refused.add(refusedLetter, 1) {
			n.log.Warn("peer causes too many dead letters, the rest is only counted", "peer", origin, "a_minute", maxLetters)
		}
		return nil
	}
	err := n.dead.publish(ctx, letter)
	if err != nil {
		n.letters.giveBack(origin)
	}
	return err
}

// letterAbout is the dead letter about a message of a peer.
func letterAbout(origin string, m *frame.Message, reason error) deadLetter {
	return deadLetter{
		Reason: reason.Error(), Lane: "from " + origin, Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, Time: time.Now(), Payload: m.Payload,
	}
}

package remote

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/stage"
	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
)

const (
	maxSplit   = 1024      // messages that one may be made into
	maxPayload = 268435455 // [MQTT-1.5.5-1]: the largest packet, in bytes
)

// Marks of what has become of a message.
const (
	sent uint8 = 1 << iota
	keptBack
	superseded
	refused
)

// keeping is what a stage keeps back, without the payloads, in the order in which it was kept.
type keeping []stage.Message

// account checks a plugin's answer against what it was given, and returns what a stage returns; what that keeps back is noted. The error is
// ErrContract. Messages that go on may have at most limit bytes. What is returned holds parts of the answer and of in.
func (k *keeping) account(answer *pluginv1.ProcessResponse, in []stage.Message, limit int) (stage.Output, error) {
	a := accountant{kept: *k, in: in, limit: limit, marks: make([]uint8, len(*k)+len(in))}
	out, err := a.account(answer)
	if err != nil {
		return stage.Output{}, err
	}
	*k = a.remaining()
	return out, nil
}

// accountant has one answer before it. A message is named by its place: that in kept, or behind these that in in. IDs grow with places.
type accountant struct {
	kept  []stage.Message // by earlier calls
	in    []stage.Message // of this call
	limit int

	marks []uint8  // by place
	split []uint16 // by place: how many it was made into, less one
}

func (a *accountant) account(answer *pluginv1.ProcessResponse) (out stage.Output, err error) {
	if out.Messages, err = a.messages(answer.Messages); err != nil {
		return out, err
	}
	for _, id := range answer.Kept {
		if err := a.keep(id); err != nil {
			return out, err
		}
	}
	for _, id := range answer.Superseded {
		if err := a.supersede(id); err != nil {
			return out, err
		}
	}
	for _, r := range answer.Refused {
		refusal, err := a.refuse(r)
		if err != nil {
			return out, err
		}
		out.Refused = append(out.Refused, refusal)
	}
	slices.Sort(answer.Kept)
	out.Kept, out.Superseded = slices.Compact(answer.Kept), answer.Superseded
	if answer.AgainUnixNano != 0 {
		out.Again = time.Unix(0, answer.AgainUnixNano)
	}
	return out, nil
}

// at returns the place of the message with that ID, or -1.
func (a *accountant) at(id uint64) int {
	byID := func(m stage.Message, id uint64) int { return cmp.Compare(m.ID, id) }
	if at, found := slices.BinarySearchFunc(a.kept, id, byID); found {
		return at
	}
	if at, found := slices.BinarySearchFunc(a.in, id, byID); found {
		return len(a.kept) + at
	}
	return -1
}

func (a *accountant) message(at int) *stage.Message {
	if at < len(a.kept) {
		return &a.kept[at]
	}
	return &a.in[at-len(a.kept)]
}

// given says whether the message was given in this call.
func (a *accountant) given(at int) bool { return at >= len(a.kept) }

func (a *accountant) messages(results []*pluginv1.Result) ([]stage.Message, error) {
	if len(results) == 0 {
		return nil, nil
	}
	all := make([]stage.Message, 0, len(results))
	order := order{accountant: a}
	size, next := 0, len(a.kept)
	for _, r := range results {
		at := next // mostly they come as they went
		if at >= len(a.marks) || a.message(at).ID != r.GetId() {
			at = a.at(r.GetId())
		}
		if at < 0 {
			return nil, fmt.Errorf("%w: it sent message %d, which it was not given", ErrContract, r.GetId())
		}
		next = at + 1
		if err := order.check(at); err != nil {
			return nil, err
		}
		if err := a.count(at); err != nil {
			return nil, err
		}
		m, err := a.apply(at, r)
		if err != nil {
			return nil, err
		}
		if size += len(m.Topic) + len(m.Payload); size > a.limit {
			return nil, fmt.Errorf("%w: it made more than %d bytes of its messages", ErrContract, a.limit)
		}
		all = append(all, m)
	}
	return all, nil
}

// count notes that a message goes on, and holds it to maxSplit.
func (a *accountant) count(at int) error {
	if a.marks[at]&sent == 0 {
		a.marks[at] |= sent
		return nil
	}
	if a.split == nil {
		a.split = make([]uint16, len(a.marks))
	}
	if a.split[at]++; a.split[at] >= maxSplit {
		return fmt.Errorf("%w: it made more than %d messages of message %d", ErrContract, maxSplit, a.message(at).ID)
	}
	return nil
}

// order checks the order of messages by the topic that they came with. While places only grow there is nothing to look up.
type order struct {
	*accountant
	places []int          // so far
	last   map[string]int // the last place of each topic; nil while places only grow
}

func (o *order) check(at int) error {
	if o.last == nil && (len(o.places) == 0 || o.places[len(o.places)-1] <= at) {
		o.places = append(o.places, at)
		return nil
	}
	if o.last == nil {
		o.last = map[string]int{}
		for _, before := range o.places {
			o.last[o.message(before).Topic] = before
		}
	}
	topic := o.message(at).Topic
	if o.last[topic] > at {
		return fmt.Errorf("%w: it reordered the messages of topic %q", ErrContract, topic)
	}
	o.last[topic] = max(at, o.last[topic])
	return nil
}

// apply returns the message at a place as the result changes it.
func (a *accountant) apply(at int, r *pluginv1.Result) (stage.Message, error) {
	m := *a.message(at)
	if !a.given(at) && (r.Topic == nil || r.Payload == nil || r.Qos == nil || r.Retain == nil) {
		return m, fmt.Errorf("%w: it sent message %d without all of topic, payload, qos and retain; one that was kept back needs them", ErrContract, m.ID)
	}
	if r.Topic != nil && *r.Topic != m.Topic {
		m.Topic = *r.Topic
		if err := matching.ValidateTopic(m.Topic); err != nil {
			return m, fmt.Errorf("%w: it sent message %d with an invalid topic: %w", ErrContract, m.ID, err)
		}
	}
	if r.Payload != nil {
		m.Payload = r.Payload
	}
	if r.Qos != nil {
		if *r.Qos > 2 {
			return m, fmt.Errorf("%w: it sent message %d with QoS %d; a QoS is 0, 1 or 2", ErrContract, m.ID, *r.Qos)
		}
		m.QoS = byte(*r.Qos)
	}
	if r.Retain != nil {
		m.Retain = *r.Retain
	}
	if len(m.Topic)+len(m.Payload) > maxPayload {
		return m, fmt.Errorf("%w: it sent message %d with %d bytes, more than MQTT has room for", ErrContract, m.ID, len(m.Payload))
	}
	return m, nil
}

// mark notes what has become of a message that nothing else has become of.
func (a *accountant) mark(at int, as uint8, word string) error {
	if a.marks[at] != 0 {
		return fmt.Errorf("%w: it %s message %d, of which it said something else besides", ErrContract, word, a.message(at).ID)
	}
	a.marks[at] |= as
	return nil
}

func (a *accountant) keep(id uint64) error {
	at := a.at(id)
	if at < 0 || !a.given(at) {
		return fmt.Errorf("%w: it keeps message %d, which it was not given in this call", ErrContract, id)
	}
	return a.mark(at, keptBack, "keeps")
}

func (a *accountant) supersede(id uint64) error {
	at := a.at(id)
	if at < 0 || a.given(at) {
		return fmt.Errorf("%w: it supersedes message %d, which it does not keep", ErrContract, id)
	}
	return a.mark(at, superseded, "supersedes")
}

func (a *accountant) refuse(r *pluginv1.Refusal) (stage.Refusal, error) {
	at := a.at(r.GetId())
	if at < 0 || !a.given(at) {
		return stage.Refusal{}, fmt.Errorf("%w: it refuses message %d, which it was not given in this call", ErrContract, r.GetId())
	}
	reason := clip(r.GetReason(), maxReason)
	if reason == "" {
		reason = "refused, without a reason"
	}
	return stage.Refusal{ID: r.GetId(), Reason: reason}, a.mark(at, refused, "refuses")
}

// remaining returns what is kept back now.
func (a *accountant) remaining() []stage.Message {
	var remaining []stage.Message
	for at, mark := range a.marks {
		if mark&keptBack != 0 || !a.given(at) && mark == 0 {
			m := *a.message(at)
			m.Payload = nil
			remaining = append(remaining, m)
		}
	}
	return remaining
}

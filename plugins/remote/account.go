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

// accountant checks a plugin's answer against what it was given, and makes of it what a stage returns.
type accountant struct {
	kept  []stage.Message // by earlier calls, by ID
	in    []stage.Message // of this call, by ID
	again bool            // kept was given again in this call: for the plugin they are messages like all others
	limit int             // bytes of the messages that go on

	marks []uint8 // of kept, and then of in
	split []uint16
}

// account returns what the answer means, or an error, which is ErrContract. What it returns holds parts of the answer.
func (a *accountant) account(answer *pluginv1.ProcessResponse) (out stage.Output, err error) {
	a.marks = make([]uint8, len(a.kept)+len(a.in))
	if out.Messages, err = a.messages(answer.Messages); err != nil {
		return out, err
	}
	for _, id := range answer.Kept {
		if err := a.keep(id, &out); err != nil {
			return out, err
		}
	}
	for _, id := range answer.Superseded {
		if err := a.supersede(id, &out); err != nil {
			return out, err
		}
	}
	for _, r := range answer.Refused {
		if err := a.refuse(r, &out); err != nil {
			return out, err
		}
	}
	if a.again {
		a.dropAgain(&out)
	}
	if answer.AgainUnixNano != 0 {
		out.Again = time.Unix(0, answer.AgainUnixNano)
	}
	return out, nil
}

// at returns the place in marks of the message with that ID, or -1.
func (a *accountant) at(id uint64) int {
	byID := func(m stage.Message, id uint64) int { return cmp.Compare(m.ID, id) }
	if i, found := slices.BinarySearchFunc(a.in, id, byID); found {
		return len(a.kept) + i
	}
	if i, found := slices.BinarySearchFunc(a.kept, id, byID); found {
		return i
	}
	return -1
}

func (a *accountant) message(at int) *stage.Message {
	if at < len(a.kept) {
		return &a.kept[at]
	}
	return &a.in[at-len(a.kept)]
}

// given says whether the plugin was given the message in this call.
func (a *accountant) given(at int) bool { return at >= 0 && (a.again || at >= len(a.kept)) }

func (a *accountant) messages(results []*pluginv1.Result) ([]stage.Message, error) {
	if len(results) == 0 {
		return nil, nil
	}
	all := make([]stage.Message, 0, len(results))
	var order order
	size, last, next := 0, uint64(0), len(a.kept)
	for _, r := range results {
		at := next // mostly they come as they went
		if at >= len(a.marks) || a.message(at).ID != r.GetId() {
			at = a.at(r.GetId())
		}
		if at < 0 {
			return nil, fmt.Errorf("%w: it sent message %d, which it was not given", ErrContract, r.GetId())
		}
		next = at + 1
		from := a.message(at)
		if from.ID < last && order.last == nil {
			order.begin(all, a)
		}
		if last = from.ID; order.last != nil && !order.follows(from) {
			return nil, fmt.Errorf("%w: it reordered the messages of topic %q", ErrContract, from.Topic)
		}
		if err := a.count(at); err != nil {
			return nil, err
		}
		m, err := apply(from, r)
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

// order checks the order of messages by the topic that they came with. It begins only where the IDs do not show the order.
type order struct{ last map[string]uint64 }

func (o *order) begin(sent []stage.Message, a *accountant) {
	o.last = map[string]uint64{}
	for _, m := range sent {
		o.follows(a.message(a.at(m.ID)))
	}
}

func (o *order) follows(m *stage.Message) bool {
	ok := o.last[m.Topic] <= m.ID
	o.last[m.Topic] = m.ID
	return ok
}

// apply returns the message as the result changes it.
func apply(from *stage.Message, r *pluginv1.Result) (stage.Message, error) {
	m := *from
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
func (a *accountant) mark(at int, as uint8, id uint64, word string) error {
	if a.marks[at] != 0 {
		return fmt.Errorf("%w: it %s message %d, of which it said something else besides", ErrContract, word, id)
	}
	a.marks[at] = as
	return nil
}

func (a *accountant) keep(id uint64, out *stage.Output) error {
	at := a.at(id)
	if !a.given(at) {
		return fmt.Errorf("%w: it keeps message %d, which it was not given in this call", ErrContract, id)
	}
	if at >= len(a.kept) {
		out.Kept = append(out.Kept, id)
	}
	return a.mark(at, keptBack, id, "keeps")
}

func (a *accountant) supersede(id uint64, out *stage.Output) error {
	at := a.at(id)
	if at < 0 || at >= len(a.kept) {
		return fmt.Errorf("%w: it supersedes message %d, which it does not keep", ErrContract, id)
	}
	out.Superseded = append(out.Superseded, id)
	return a.mark(at, superseded, id, "supersedes")
}

func (a *accountant) refuse(r *pluginv1.Refusal, out *stage.Output) error {
	at := a.at(r.GetId())
	if !a.given(at) {
		return fmt.Errorf("%w: it refuses message %d, which it was not given in this call", ErrContract, r.GetId())
	}
	reason := clip(r.GetReason(), maxReason)
	if reason == "" {
		reason = "refused, without a reason"
	}
	out.Refused = append(out.Refused, stage.Refusal{ID: r.GetId(), Reason: reason})
	return a.mark(at, refused, r.GetId(), "refuses")
}

// dropAgain has what was kept, given again, and dropped by the plugin without a word superseded.
func (a *accountant) dropAgain(out *stage.Output) {
	for i := range a.kept {
		if a.marks[i] == 0 {
			out.Superseded = append(out.Superseded, a.kept[i].ID)
		}
	}
}

// remaining returns what is kept back now: copies, for what a stage was given belongs to the caller afterwards.
func (a *accountant) remaining() []stage.Message {
	remaining := make([]stage.Message, 0, len(a.kept))
	for i, m := range a.kept {
		if mark := a.marks[i]; mark == keptBack || mark == 0 && !a.again {
			remaining = append(remaining, m)
		}
	}
	for i, m := range a.in {
		if a.marks[len(a.kept)+i] == keptBack {
			m.Payload = slices.Clone(m.Payload)
			remaining = append(remaining, m)
		}
	}
	return remaining
}

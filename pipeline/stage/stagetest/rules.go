package stagetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weft-relay/weft/pipeline/stage"
)

// books is what is known of IDs before and during a call.
type books struct {
	*call
	number int                // of the call, from 1
	given  map[uint64]bool    // in this call
	kept   map[uint64]bool    // by earlier calls
	places map[uint64][]place // the lists of this call that an ID is in
}

// place is a list that an ID is in; a split message is in Messages once here.
type place string

// audit walks through the calls with the books.
func audit(tr *trace, visit func(books) error) error {
	kept := map[uint64]bool{}
	for i := range tr.calls {
		b := books{call: &tr.calls[i], number: i + 1, given: idsOf(tr.calls[i].in), kept: kept, places: map[uint64][]place{}}
		b.enter()
		if err := visit(b); err != nil {
			return err
		}
		for id, places := range b.places {
			switch {
			case slices.Contains(places, "Kept"):
				kept[id] = true
			case slices.Contains(places, "Messages"), slices.Contains(places, "Superseded"):
				delete(kept, id)
			}
		}
	}
	return nil
}

func (b books) enter() {
	for _, m := range b.out.Messages {
		if len(b.places[m.ID]) == 0 {
			b.places[m.ID] = []place{"Messages"}
		}
	}
	for _, id := range b.out.Kept {
		b.places[id] = append(b.places[id], "Kept")
	}
	for _, id := range b.out.Superseded {
		b.places[id] = append(b.places[id], "Superseded")
	}
	for _, r := range b.out.Refused {
		b.places[r.ID] = append(b.places[r.ID], "Refused")
	}
}

// ids returns the IDs of this call's lists in order, so that the first violation is always the same.
func (b books) ids() []uint64 { return slices.Sorted(maps.Keys(b.places)) }

func idsAreKnown(tr *trace) error {
	return audit(tr, func(b books) error {
		for _, id := range b.ids() {
			waits := b.kept[id]
			for _, list := range b.places[id] {
				switch {
				case list == "Messages" && !b.given[id] && !waits:
					return fmt.Errorf("call %d: ID %d in Messages was neither given in this call nor kept back by an earlier one", b.number, id)
				case (list == "Kept" || list == "Refused") && !b.given[id]:
					return fmt.Errorf("call %d: ID %d in %s was not given in this call", b.number, id, list)
				case list == "Superseded" && !waits:
					return fmt.Errorf("call %d: ID %d in Superseded was not kept back by an earlier call", b.number, id)
				}
			}
		}
		return nil
	})
}

func eachIsInOneList(tr *trace) error {
	return audit(tr, func(b books) error {
		for _, id := range b.ids() {
			if p := b.places[id]; len(p) > 1 {
				return fmt.Errorf("call %d: ID %d is in %s and in %s", b.number, id, p[0], p[1])
			}
		}
		return nil
	})
}

func keptMessagesEnd(tr *trace) error {
	if len(tr.left) == 0 {
		return nil
	}
	return fmt.Errorf("ID %d is kept back by a call, and in Messages or Superseded of no later one, of %d calls until %v after the start",
		tr.left[0], len(tr.calls), tr.calls[len(tr.calls)-1].now.Sub(epoch))
}

func refusalsHaveReasons(tr *trace) error {
	for i, c := range tr.calls {
		for _, r := range c.out.Refused {
			if strings.TrimSpace(r.Reason) == "" {
				return fmt.Errorf("call %d: ID %d is refused without a reason", i+1, r.ID)
			}
		}
	}
	return nil
}

// topicsKeepTheirOrder looks at the topics of what was given: those of what comes out may be others.
func topicsKeepTheirOrder(tr *trace) error {
	topicOf, last := map[uint64]string{}, map[string]uint64{}
	for i, c := range tr.calls {
		for _, m := range c.in {
			topicOf[m.ID] = m.Topic
		}
		for _, m := range c.out.Messages {
			topic, known := topicOf[m.ID]
			if before := last[topic]; known && m.ID < before {
				return fmt.Errorf("call %d: ID %d, given with topic %q, comes after ID %d of the same topic", i+1, m.ID, topic, before)
			}
			last[topic] = m.ID
		}
	}
	return nil
}

func messagesAreValid(tr *trace) error {
	for i, c := range tr.calls {
		for _, m := range c.out.Messages {
			if err := valid(m); err != nil {
				return fmt.Errorf("call %d: ID %d: %w", i+1, m.ID, err)
			}
		}
	}
	return nil
}

func valid(m stage.Message) error {
	switch {
	case m.QoS > 2:
		return fmt.Errorf("QoS %d", m.QoS) // [MQTT-3.3.1-4]
	case m.Topic == "":
		return errors.New("empty topic") // [MQTT-4.7.3-1]
	case len(m.Topic) > 65535:
		return fmt.Errorf("topic of %d bytes", len(m.Topic)) // [MQTT-4.7.3-3]
	case strings.ContainsAny(m.Topic, "+#\x00") || !utf8.ValidString(m.Topic):
		return fmt.Errorf("topic %q", m.Topic) // [MQTT-4.7.1-1], [MQTT-4.7.3-2]
	}
	return nil
}

func inputIsNotChanged(tr *trace) error {
	for i, c := range tr.calls {
		if c.changed != "" {
			return fmt.Errorf("call %d: the stage has changed %s", i+1, c.changed)
		}
	}
	return nil
}

func noBusyLoop(tr *trace) error {
	if !tr.busy.IsZero() {
		return fmt.Errorf("%v after the start the stage asks for %d calls within a second, in which nothing is given and nothing comes of it",
			tr.busy.Sub(epoch).Round(time.Millisecond), idleCalls)
	}
	return nil
}

// allRules are those that a trace alone shows.
func allRules(tr *trace) error {
	for _, rule := range []func(*trace) error{
		messagesAreValid, idsAreKnown, eachIsInOneList, keptMessagesEnd, refusalsHaveReasons, topicsKeepTheirOrder, inputIsNotChanged, noBusyLoop,
	} {
		if err := rule(tr); err != nil {
			return err
		}
	}
	return nil
}

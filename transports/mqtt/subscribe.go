package mqtt

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	// filtersPerPacket keeps a SUBSCRIBE below what small brokers read.
	filtersPerPacket = 100
	// answerTimeout is how long the broker may take to answer a SUBSCRIBE.
	answerTimeout = 20 * time.Second

	subackFailure = 0x80 // MQTT 3.9.3

	// leaving stands in the store for the QoS of a filter that the broker may or may not have forgotten.
	leaving = 0x80
)

// checkFilter reports what is wrong with a topic filter, by MQTT 4.7.
func checkFilter(filter string, qos byte) error {
	bare := filter
	if rest, ok := strings.CutPrefix(filter, "$share/"); ok {
		_, bare, _ = strings.Cut(rest, "/")
	}
	switch {
	case qos > 2:
		return fmt.Errorf("filter %.80q: no QoS %d", filter, qos)
	case bare == "" || len(filter) > maxString:
		return fmt.Errorf("filter %.80q: want 1 to 65,535 bytes", filter) // [MQTT-4.7.3-1] [MQTT-4.7.3-3]
	case !utf8.ValidString(filter) || strings.IndexByte(filter, 0) >= 0:
		return fmt.Errorf("filter %.80q: not valid UTF-8 without U+0000", filter) // [MQTT-1.5.3-1] [MQTT-4.7.3-2]
	}
	levels := strings.Split(bare, "/")
	for i, level := range levels {
		if level == "+" || level == "#" && i == len(levels)-1 {
			continue
		}
		if strings.ContainsAny(level, "+#") {
			return fmt.Errorf("filter %.80q: + takes a whole level, # the whole last one", filter) // [MQTT-4.7.1-2] [MQTT-4.7.1-3]
		}
	}
	return nil
}

// replies are the SUBACKs and UNSUBACKs that somebody waits for.
type replies struct {
	mu      sync.Mutex
	waiting map[uint16]chan []byte
}

func (r *replies) expect(id uint16) <-chan []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = make(map[uint16]chan []byte)
	}
	ch := make(chan []byte, 1)
	r.waiting[id] = ch
	return ch
}

func (r *replies) deliver(id uint16, codes []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ch, ok := r.waiting[id]; ok {
		ch <- bytes.Clone(codes)
		delete(r.waiting, id)
	}
}

func (r *replies) forget(id uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, id)
}

// request sends the SUBSCRIBE or UNSUBSCRIBE that build makes for an identifier, and returns the return codes.
func (s *Session) request(l *link, build func(id uint16) packets.ControlPacket) ([]byte, error) {
	id := s.out.reserve()
	defer s.out.release(id)
	answer := s.replies.expect(id)
	defer s.replies.forget(id)
	var packet bytes.Buffer
	if err := build(id).Write(&packet); err != nil {
		return nil, err
	}
	l.write(packet.Bytes(), false)
	select {
	case codes := <-answer:
		return codes, nil
	case <-l.done:
		return nil, l.reason()
	case <-s.ctx.Done():
		return nil, ErrClosed
	case <-time.After(answerTimeout):
		return nil, errors.New("broker does not answer a subscription")
	}
}

func (s *Session) sendSubscribe(l *link, filters []string, want map[string]byte) ([]byte, error) {
	codes, err := s.request(l, func(id uint16) packets.ControlPacket {
		p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
		p.MessageID, p.Topics = id, filters
		for _, filter := range filters {
			p.Qoss = append(p.Qoss, want[filter])
		}
		return p
	})
	if err == nil && len(codes) != len(filters) {
		err = fmt.Errorf("SUBACK: %w", errMalformed) // [MQTT-3.8.4-5]
	}
	return codes, err
}

func (s *Session) sendUnsubscribe(l *link, filters []string) error {
	_, err := s.request(l, func(id uint16) packets.ControlPacket {
		p := packets.NewControlPacket(packets.Unsubscribe).(*packets.UnsubscribePacket)
		p.MessageID, p.Topics = id, filters
		return p
	})
	return err
}

// reconcile brings the broker's subscriptions to what is wanted, by the difference alone: to subscribe again to what the
// session has would make the broker send every retained message again. It reports whether the broker refused a filter.
func (s *Session) reconcile(l *link) (refused bool, err error) {
	want, have := s.wanted(), s.store.Subscriptions()
	if have == nil {
		have = make(map[string]byte)
	}
	var add, drop []string
	for filter, qos := range want {
		if old, ok := have[filter]; !ok || old != qos {
			add = append(add, filter)
		}
	}
	for filter := range have {
		if _, ok := want[filter]; !ok {
			drop = append(drop, filter)
		}
	}
	slices.Sort(add)
	var denied []string
	for filters := range slices.Chunk(add, filtersPerPacket) {
		codes, err := s.sendSubscribe(l, filters, want)
		if err != nil {
			return false, err
		}
		for i, filter := range filters {
			if codes[i] >= subackFailure {
				denied = append(denied, filter)
			} else {
				have[filter] = want[filter]
			}
		}
	}
	s.store.SetSubscriptions(have)
	s.answerConsumers(have, denied)
	s.noteRefused(denied)
	return len(denied) > 0, s.unsubscribe(l, have, drop)
}

// unsubscribe notes durably that the filters are leaving before the broker hears it: one that the store only believes to be
// subscribed to would never be subscribed to again, and one that it has forgotten never be unsubscribed from.
func (s *Session) unsubscribe(l *link, have map[string]byte, drop []string) error {
	if len(drop) == 0 {
		return nil
	}
	for _, filter := range drop {
		have[filter] = leaving
	}
	s.store.SetSubscriptions(have)
	if err := s.store.Sync(); err != nil {
		return fmt.Errorf("sync the session's store: %w", err)
	}
	for filters := range slices.Chunk(drop, filtersPerPacket) {
		if err := s.sendUnsubscribe(l, filters); err != nil {
			return err
		}
		for _, filter := range filters {
			delete(have, filter)
		}
	}
	s.store.SetSubscriptions(have)
	return nil
}

// wanted returns the filters that the broker's session should be subscribed to.
func (s *Session) wanted() map[string]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := maps.Clone(s.initialized)
	raise := func(filter string, qos byte) {
		if old, ok := want[filter]; !ok || qos > old {
			want[filter] = qos
		}
	}
	for filter, l := range s.lingering {
		raise(filter, l.qos)
	}
	for _, c := range s.in.list() {
		for filter, qos := range c.filters {
			raise(filter, qos)
		}
	}
	return want
}

// answerConsumers tells each waiting Subscribe what the broker said.
func (s *Session) answerConsumers(have map[string]byte, denied []string) {
	for _, c := range s.in.list() {
		var err error
		known := true
		for filter := range c.filters {
			if slices.Contains(denied, filter) {
				err = fmt.Errorf("%w %q", ErrSubscriptionRefused, filter)
			} else if _, ok := have[filter]; !ok {
				known = false
			}
		}
		if !known {
			continue
		}
		select {
		case c.ready <- err:
		default: // answered before
		}
	}
}

func (s *Session) noteRefused(denied []string) {
	detail := ""
	if len(denied) > 0 {
		s.log.Warn("broker refused subscriptions", "filters", denied)
		detail = fmt.Sprintf("%v %q: check the user's rights", ErrSubscriptionRefused, denied)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Detail = detail
}

// sweep ends what lingered long enough.
func (s *Session) sweep(now time.Time) {
	s.mu.Lock()
	for filter, l := range s.lingering {
		if now.After(l.until) {
			delete(s.lingering, filter)
			s.change()
		}
	}
	expected := slices.AppendSeq(slices.Collect(maps.Keys(s.initialized)), maps.Keys(s.lingering))
	early := now.Sub(s.begun) < startGrace
	s.mu.Unlock()
	s.echo.sweep(now)
	if topic := s.in.sweep(func(topic string) bool { return early || anyMatches(expected, topic) }); topic != "" {
		s.log.Warn("messages dropped: nobody subscribes to them any more", "topic", topic)
	}
}

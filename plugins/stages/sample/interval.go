package sample

import (
	"container/list"
	"strings"
	"time"

	"github.com/weft-relay/weft/pipeline/stage"
)

// interval is the time in which a topic has had its one message. It may have two that wait for its end: the last one, and before it the
// last one to be retained, for which a message without the flag is no substitute.
type interval struct {
	topic           string
	end             time.Time
	retained, plain slot
}

// slot is a place for a message that is kept back.
type slot struct {
	message stage.Message // with a payload of its own
	waits   bool          // there is one
	fresh   bool          // it was given in this call
}

// endIntervals ends those whose time has come. Where a message has waited, the next interval begins with it; else the topic is forgotten.
func (s *Sample) endIntervals(now time.Time) {
	for front := s.ending.Front(); front != nil; front = s.ending.Front() {
		i := front.Value.(*interval)
		if left := i.end.Sub(now); left > 0 && left <= s.config.Every { // if it is more, the clock was set back
			return
		}
		if !i.retained.waits && !i.plain.waits {
			s.forget(front)
			continue
		}
		s.letGo(i)
		s.begin(front, now)
	}
}

// endEarly ends the interval that would end next, to make room.
func (s *Sample) endEarly() {
	front := s.ending.Front()
	s.letGo(front.Value.(*interval))
	s.forget(front)
}

// add begins the first interval of a topic.
func (s *Sample) add(now time.Time, topic string) {
	if len(s.byName) >= s.config.Topics {
		s.endEarly()
	}
	i := &interval{topic: strings.Clone(topic)}
	added := s.ending.PushBack(i)
	s.byName[i.topic] = added
	s.begin(added, now)
}

// begin begins the topic's next interval.
func (s *Sample) begin(at *list.Element, now time.Time) {
	at.Value.(*interval).end = now.Add(s.config.Every)
	s.ending.MoveToBack(at)
}

func (s *Sample) forget(at *list.Element) {
	delete(s.byName, at.Value.(*interval).topic)
	s.ending.Remove(at)
}

package mqtt

import (
	"maps"
	"time"

	"github.com/weft-relay/weft/transports"
)

// Counters are messages that a session did not pass on, by reason, since New.
type Counters struct {
	LostOut  uint64 `json:"lost_out"` // published at QoS 0 and lost with a connection before they reached the socket
	Overflow uint64 `json:"overflow"` // arrived at QoS 0 and dropped because the consumer was blocked
	Unwanted uint64 `json:"unwanted"` // arrived for a filter that nobody subscribes to any more
	Bad      uint64 `json:"bad"`      // arrived and not readable for the marshaler
	Echoes   uint64 `json:"echoes"`   // the session's own publications, kept out
	Refused  uint64 `json:"refused"`  // published, and given up because the broker hangs up on them
	Orphans  uint64 `json:"orphans"`  // of Refused, those that no Publish waited for any more: nobody else has them
}

// Counters returns what was not passed on.
func (s *Session) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Counters{
		LostOut: s.lost + s.out.lost.Load(), Overflow: s.in.dropped.Load(), Unwanted: s.in.unwanted.Load(),
		Bad: s.in.bad.Load(), Echoes: s.in.echo.count.Load(), Refused: s.out.refused.Load(), Orphans: s.out.orphans.Load(),
	}
	if s.link != nil {
		c.LostOut += s.link.lost.Load()
	}
	return c
}

// byReason returns what was counted, each message under one reason.
func (c Counters) byReason() map[string]uint64 {
	all := map[string]uint64{
		"lost_out": c.LostOut, "overflow": c.Overflow, "unwanted": c.Unwanted, "bad": c.Bad, "echoes": c.Echoes,
		"refused": c.Refused - min(c.Orphans, c.Refused), "orphans": c.Orphans,
	}
	maps.DeleteFunc(all, func(_ string, n uint64) bool { return n == 0 })
	return all
}

// Report implements [transports.Transport]. Its Dropped has the names of the JSON of [Counters]; what is refused and an orphan is
// among the orphans alone.
func (s *Session) Report() transports.Report {
	dropped := s.Counters().byReason()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Dropped = dropped
	r.BytesOut, r.BytesIn = s.out.total.Load(), s.in.total.Load()
	if r.Detail == "" {
		r.Detail = s.loss
	}
	if r.State == transports.Up && !s.pinged.IsZero() && time.Since(s.pinged) > stalledAfter {
		r.State, r.Since, r.Detail = transports.Stalled, s.pinged, "the broker does not answer a ping"
	}
	return r
}

func (s *Session) setState(state transports.State, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.report.State != state {
		s.report.State, s.report.Since = state, time.Now()
	}
	s.report.Detail = detail
}

// attach makes l the connection that is reported on.
func (s *Session) attach(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link, s.pinged, s.lastPing = l, time.Time{}, time.Now()
	if s.connections++; s.connections > 1 {
		s.report.Reconnects++
	}
	s.report.State, s.report.Since, s.report.Detail = transports.Up, time.Now(), ""
}

func (s *Session) detach(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link, s.pinged = nil, time.Time{}
	s.lost += l.lost.Load()
}

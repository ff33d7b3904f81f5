package twister

import (
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-relay/weft/transports"
)

// status is the transport's account of itself.
type status struct {
	log      *slog.Logger
	bytesOut atomic.Uint64
	bytesIn  atomic.Uint64

	mu       sync.Mutex
	state    transports.State
	since    time.Time
	detail   string
	connects uint64
	drops    map[string]uint64
}

func newStatus(log *slog.Logger) *status {
	return &status{log: log, state: transports.Down, since: time.Now(), drops: map[string]uint64{}}
}

func (s *status) set(state transports.State, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.detail = ""
	if err != nil {
		s.detail = err.Error()
	}
	if s.state != state {
		s.state, s.since = state, time.Now()
		if state == transports.Up {
			s.connects++
		}
		s.log.Info("twister "+string(state), "detail", s.detail)
	}
}

// dropped counts what was not passed on, and logs the first of each reason.
func (s *status) dropped(reason string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drops[reason] == 0 {
		s.log.Warn("twister drops messages", "reason", reason)
	}
	s.drops[reason] += uint64(n)
}

func (s *status) report() transports.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return transports.Report{
		State: s.state, Since: s.since, Detail: s.detail, Reconnects: max(s.connects, 1) - 1,
		BytesOut: s.bytesOut.Load(), BytesIn: s.bytesIn.Load(), Dropped: maps.Clone(s.drops),
	}
}

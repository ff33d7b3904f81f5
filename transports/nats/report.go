package nats

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-relay/weft/transports"
)

// status is the transport's account of itself. Each change of state is logged once, and each error once until the transport is up again.
type status struct {
	log      *slog.Logger
	bytesOut atomic.Uint64
	bytesIn  atomic.Uint64
	stalled  atomic.Bool // state is Stalled, readable without the lock

	mu       sync.Mutex
	state    transports.State
	since    time.Time
	detail   string
	warned   map[string]bool // details logged since the transport was up
	connects uint64
}

func newStatus(log *slog.Logger) *status {
	return &status{log: log, state: transports.Down, since: time.Now(), warned: map[string]bool{}}
}

func (s *status) set(state transports.State, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change(state, err)
}

// change is set under the lock.
func (s *status) change(state transports.State, err error) {
	s.detail = ""
	if err != nil {
		s.detail = plain(err)
	}
	changed := s.state != state
	if changed {
		s.state, s.since = state, time.Now()
		s.stalled.Store(state == transports.Stalled)
	}
	switch {
	case err != nil && (changed || !s.warned[s.detail]):
		s.warned[s.detail] = true
		s.log.Warn("nats "+string(state), slog.String("detail", s.detail))
	case err == nil && changed:
		s.log.Info("nats " + string(state))
	}
	if changed && state == transports.Up {
		clear(s.warned)
	}
}

// connected counts a connection; the state changes when the streams are found as well.
func (s *status) connected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connects++
}

func (s *status) disconnected(err error) { s.set(transports.Connecting, err) }

// moved takes back that nothing moves.
func (s *status) moved() {
	if s.stalled.Load() {
		s.set(transports.Up, nil)
	}
}

// note keeps an error, or its end, without a change of state.
func (s *status) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change(s.state, err)
}

func (s *status) report() transports.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return transports.Report{
		State: s.state, Since: s.since, Detail: s.detail, Reconnects: max(s.connects, 1) - 1,
		BytesOut: s.bytesOut.Load(), BytesIn: s.bytesIn.Load(),
	}
}

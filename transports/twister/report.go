package twister

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/twister/rpc"
)

// status is the transport's account of itself. Each change of state is logged once, and each trouble once until it is over.
type status struct {
	log      *slog.Logger
	bytesOut atomic.Uint64
	bytesIn  atomic.Uint64

	mu       sync.Mutex
	state    transports.State
	since    time.Time
	detail   string
	warned   map[string]bool // kinds of trouble logged since the transport was well
	connects uint64
	lost     map[string]uint64
}

func newStatus(log *slog.Logger) *status {
	return &status{
		log: log, state: transports.Down, since: time.Now(), warned: map[string]bool{}, lost: map[string]uint64{},
	}
}

// set changes the state. An error beside Up is a trouble that stops nothing yet.
func (s *status) set(state transports.State, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, was := s.state != state, s.detail
	s.detail = ""
	if err != nil {
		s.detail = plain(err)
	}
	if changed {
		s.state, s.since = state, time.Now()
	}
	switch {
	case err != nil && (changed || !s.warned[kind(err)]):
		if len(s.warned) >= maxWarned {
			clear(s.warned)
		}
		s.warned[kind(err)] = true
		level := slog.LevelWarn
		if errors.Is(err, rpc.ErrWarmingUp) { // which passes by itself
			level = slog.LevelInfo
		}
		s.log.Log(context.Background(), level, "twister "+string(state), slog.String("detail", s.detail))
	case err == nil && (changed || was != ""):
		s.log.Info("twister " + string(state))
	}
	if err == nil && state == transports.Up {
		clear(s.warned)
	}
}

// connected counts a session.
func (s *status) connected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connects++
}

// dropped counts n messages, or whatever reason names, that were not passed on.
func (s *status) dropped(reason string, n int) {
	if n <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost[reason] == 0 {
		s.log.Warn("twister drops something; more of it is only counted", slog.String("reason", reason), slog.Int("count", n))
	}
	s.lost[reason] += uint64(n)
}

func (s *status) report() transports.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := transports.Report{
		State: s.state, Since: s.since, Detail: s.detail, Reconnects: max(s.connects, 1) - 1,
		BytesOut: s.bytesOut.Load(), BytesIn: s.bytesIn.Load(),
	}
	if len(s.lost) > 0 {
		r.Dropped = maps.Clone(s.lost)
	}
	return r
}

// maxWarned bounds the kinds of trouble that are remembered.
const maxWarned = 64

// kind names a trouble without what may be another each time it is looked at, such as a height: by the errors that it wraps.
func kind(err error) string {
	if network, ok := err.(*net.OpError); ok { //nolint:errorlint // each error of the chain is looked at by itself
		return network.Op + ": " + network.Err.Error()
	}
	switch wraps := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		if inner := wraps.Unwrap(); inner != nil {
			return kind(inner)
		}
	case interface{ Unwrap() []error }:
		var kinds []string
		for _, inner := range wraps.Unwrap() {
			kinds = append(kinds, kind(inner))
		}
		return strings.Join(kinds, "; ")
	}
	return err.Error()
}

// root is the innermost reason of an error below HTTP, without addresses.
func root(err error) string {
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return name.Err
	}
	for inner := err; inner != nil; {
		err = inner
		switch wraps := inner.(type) { //nolint:errorlint // each error of the chain is looked at by itself
		case interface{ Unwrap() error }:
			inner = wraps.Unwrap()
		case interface{ Unwrap() []error }:
			all := wraps.Unwrap()
			inner = all[len(all)-1]
		default:
			inner = nil
		}
	}
	return err.Error()
}

// plain leaves out this side's address, which is another one at each attempt.
func plain(err error) string {
	if network, ok := errors.AsType[*net.OpError](err); ok && !errors.Is(err, rpc.ErrUnreachable) {
		return network.Op + ": " + network.Err.Error()
	}
	return err.Error()
}

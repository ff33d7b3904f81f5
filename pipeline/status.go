package pipeline

import (
	"time"

	"github.com/weft-relay/weft/pipeline/identity"
	"github.com/weft-relay/weft/pipeline/lanes"
	"github.com/weft-relay/weft/transports"
)

// Status is a running node's account of itself: the JSON of `weft status` and of the admin API.
type Status struct {
	Node     string    `json:"node"`
	Key      string    `json:"key"`
	Started  time.Time `json:"started"`
	Problems []string  `json:"problems,omitempty"` // why the node is not ready, in plain words

	// FileProblem is why the changed configuration file was not taken up: the node runs with what it said before.
	FileProblem string `json:"file_problem,omitempty"`

	Broker     Report            `json:"broker"`
	Transports map[string]Report `json:"transports"`
	Peers      []PeerStatus      `json:"peers"`
	Lanes      []LaneStatus      `json:"lanes"`
	Plugins    []PluginStatus    `json:"plugins,omitempty"`
	Outgoing   Outgoing          `json:"outgoing"`
	Incoming   Incoming          `json:"incoming"`
}

// PeerStatus is what is known of a peer over one transport.
type PeerStatus struct {
	Name      string   `json:"name"`
	Key       string   `json:"key,omitempty"` // as this node's file has it
	Transport string   `json:"transport"`
	Open      bool     `json:"open,omitempty"`    // the network authenticates its name, and its filters stand in clear in the directory
	Known     bool     `json:"known"`             // its profile or its filters have been seen
	ListsUs   bool     `json:"lists_us"`          // it lists this node as a peer; until it does nothing is sent to it
	Filters   []string `json:"filters,omitempty"` // what it wants from this node
	Problem   string   `json:"problem,omitempty"` // what is wrong with its last announcement
}

// LaneStatus is a lane's account, with the state of its deliveries.
type LaneStatus struct {
	Name      string    `json:"name"` // "route/peer", or "route/*" for a broadcast
	Transport string    `json:"transport"`
	Priority  int       `json:"priority"` // of its route
	State     string    `json:"state"`    // "idle", "moving", "waiting" or "orphaned"
	Since     time.Time `json:"since,omitzero"`
	Error     string    `json:"error,omitempty"`           // why it waits, or what to do about it
	Frames    uint64    `json:"frames"`                    // published since the start
	SentBytes uint64    `json:"sent_bytes"`                // of those frames
	OnItsWay  time.Time `json:"on_its_way_since,omitzero"` // when the frame was given to the transport that it has not confirmed yet
	lanes.Stats
}

// PluginStatus is the account of a plugin that is a program of its own.
type PluginStatus struct {
	Name         string    `json:"name"`
	State        string    `json:"state"`             // "running", "starting", "waiting" (before it is started again) or "stopped"
	Program      string    `json:"program,omitempty"` // what it calls itself
	Version      string    `json:"version,omitempty"`
	PID          int       `json:"pid,omitempty"`
	Since        time.Time `json:"since,omitzero"` // of this run
	Restarts     uint64    `json:"restarts"`
	Error        string    `json:"error,omitempty"`         // why it ended last
	Memory       int64     `json:"memory,omitempty"`        // bytes, with its children
	MemoryLimit  int64     `json:"memory_limit,omitempty"`  // bytes; 0 for no limit
	LinesSkipped uint64    `json:"lines_skipped,omitempty"` // of its output, because they were too many
}

// AddPlugins adds what else is in the process that the node knows nothing of, and what is wrong with it.
func (s *Status) AddPlugins(all []PluginStatus) {
	s.Plugins = all
	for _, p := range all {
		if p.State != "running" {
			problem := "plugin " + p.Name + " is " + p.State
			if p.Error != "" {
				problem += ": " + p.Error
			}
			s.Problems = append(s.Problems, problem)
		}
	}
}

// Outgoing counts what came from the broker since the start.
type Outgoing struct {
	Taken       uint64 `json:"taken"`        // messages read
	Unwanted    uint64 `json:"unwanted"`     // of them, those that no peer has asked for
	DeadLetters uint64 `json:"dead_letters"` // messages moved to $weft/dead

	Unstored      string    `json:"unstored,omitempty"`      // why what comes from the broker cannot be stored
	UnstoredSince time.Time `json:"unstored_since,omitzero"` // since when
}

// Incoming counts what came from the transports since the start.
type Incoming struct {
	Delivered uint64            `json:"delivered"` // messages that the broker has taken
	Bytes     uint64            `json:"bytes"`     // of the frames opened
	Refused   map[string]uint64 `json:"refused,omitempty"`
}

// Status returns the node's account of itself. It is safe for concurrent use while the node runs.
func (n *Node) Status() Status {
	s := Status{
		Node: n.cfg.Node, Key: identity.FormatKey(n.id.Public()), Started: n.started,
		Broker:     n.broker.Report(),
		Transports: make(map[string]Report, len(n.transports)),
		Outgoing:   Outgoing{Taken: n.out.taken.Load(), Unwanted: n.out.unwanted.Load(), DeadLetters: n.dead.count.Load()},
		Incoming:   Incoming{Delivered: n.in.delivered.Load(), Bytes: n.in.bytes.Load(), Refused: n.in.refused.all()},
	}
	s.addProblem("broker", s.Broker)
	if u := n.out.unstored.Load(); u != nil {
		s.Outgoing.Unstored, s.Outgoing.UnstoredSince = u.why, u.since
		s.Problems = append(s.Problems, "messages from the broker cannot be stored, the broker keeps them: "+u.why+"; "+u.cure)
	}
	for name := range n.transports {
		s.Transports[name] = n.report(name)
		s.addProblem("transport "+name, s.Transports[name])
	}
	for _, d := range n.boards {
		if why := d.unannounced.Load(); why != nil {
			s.Problems = append(s.Problems, "transport "+d.interests.transport+" does not take what this node announces, so that peers do not know what it wants: "+*why)
		}
		if why := d.rivals.problem(n.cfg.Node); why != "" {
			s.Problems = append(s.Problems, "transport "+d.interests.transport+" shows that "+why)
		}
	}
	for _, p := range n.cfg.Peers {
		s.Peers = append(s.Peers, n.peerStatus(p)...)
	}
	for _, d := range n.deliveries {
		l := d.status()
		if r := s.Transports[l.Transport]; l.Depth > 0 && r.State != transports.Up {
			l.State, l.Since, l.Error = "waiting", r.Since, problem("transport "+l.Transport, r)
		}
		s.Lanes = append(s.Lanes, l)
		s.addFull(l, d.route.Queue)
	}
	for _, st := range n.stagings {
		l := st.status()
		s.Lanes = append(s.Lanes, l)
		s.addFull(l, st.limits)
		if l.Error != "" {
			s.Problems = append(s.Problems, "lane "+l.Name+" waits for its stages: "+l.Error)
		}
	}
	for _, lane := range n.orphans {
		s.Lanes = append(s.Lanes, LaneStatus{Name: lane.Name(), State: "orphaned", Error: orphanCure, Stats: lane.Stats()})
	}
	return s
}

// addFull adds a lane to the problems that holds up the broker, or soon will.
func (s *Status) addFull(l LaneStatus, limits lanes.Limits) {
	if limits.WhenFull == lanes.Block && l.Bytes >= limits.Bytes*9/10 {
		s.Problems = append(s.Problems, "lane "+l.Name+" is full, or nearly: by its when_full: block it holds up everything that this node takes from its broker")
	}
}

// orphanCure is what to do about a lane that nothing empties any more.
const orphanCure = "no route and peer of these names in the configuration: to send its messages put them back and start again; else they are dropped when they are 7 days old"

func (s *Status) addProblem(what string, r Report) {
	if r.State == transports.Up {
		return
	}
	s.Problems = append(s.Problems, problem(what, r))
}

func problem(what string, r Report) string {
	text := what + " is " + string(r.State)
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	return text
}

func (n *Node) peerStatus(p Peer) []PeerStatus {
	var all []PeerStatus
	for _, d := range n.boards {
		open := d.interests.open
		if !p.ReachedOver(d.interests.transport, open) {
			continue
		}
		s := PeerStatus{Name: p.Name, Transport: d.interests.transport, Open: open, Problem: d.interests.problem(p.Name)}
		if len(p.Key) > 0 {
			s.Key = identity.FormatKey(p.Key)
		}
		if prof := d.interests.of(p.Name); prof != nil {
			s.Known, s.ListsUs, s.Filters = true, prof.Listed, prof.Filters
		}
		all = append(all, s)
	}
	return all
}

func (d *delivery) status() LaneStatus {
	s := LaneStatus{Name: d.lane.Name(), Transport: d.route.To, Priority: d.route.Priority, Stats: d.lane.Stats(), State: "idle", Frames: d.frames.Load(), SentBytes: d.bytes.Load()}
	if sent := d.sent.Load(); sent != nil {
		s.OnItsWay = *sent
	}
	since, err := d.state.get()
	switch {
	case !s.OnItsWay.IsZero() && time.Since(s.OnItsWay) > attemptTimeout: // a patient one, however the last attempt has ended
		s.State, s.Since = "moving", s.OnItsWay
	case err != nil:
		s.State, s.Since, s.Error = "waiting", since, err.Error()
	case s.Depth > 0:
		s.State = "moving"
	}
	return s
}

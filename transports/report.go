package transports

import "time"

// State of a transport's or a broker's connection.
type State string

// States, from best to worst.
const (
	Up         State = "up"
	Connecting State = "connecting" // not connected, trying
	Stalled    State = "stalled"    // connected, but nothing moves
	Down       State = "down"       // not started, or closed
)

// Report is a transport's own account of itself.
type Report struct {
	State      State             `json:"state"`
	Since      time.Time         `json:"since"`             // when State was entered
	Detail     string            `json:"detail,omitempty"`  // the last error in plain words, with what would help; never a secret
	Reconnects uint64            `json:"reconnects"`        // connections made after the first
	BytesOut   uint64            `json:"bytes_out"`         // payload bytes handed to the network
	BytesIn    uint64            `json:"bytes_in"`          // payload bytes taken from it
	Dropped    map[string]uint64 `json:"dropped,omitempty"` // messages that it did not pass on, by reason
	Posts      *Posts            `json:"posts,omitempty"`   // where what it may send is counted
	Mesh       *Mesh             `json:"mesh,omitempty"`    // where nodes are connected straight to each other
	Metrics    []Metric          `json:"-"`                 // figures of its own
}

// Posts is what a transport may send, where its network counts that.
type Posts struct {
	Used   int           `json:"used"`      // so far
	Left   int           `json:"left"`      // now
	Exact  bool          `json:"exact"`     // else there may be more than Left
	Refill time.Duration `json:"refill_ns"` // how long another takes to come, on average; 0 while that is not known
}

// Metric is a figure of a transport, at this moment.
type Metric struct {
	Name    string // in snake case, after Prometheus's rules, without a prefix
	Help    string
	Counter bool // only grows, else it goes up and down
	Label   string
	Of      map[string]float64 // by the value of the label; by "" where there is no label
}

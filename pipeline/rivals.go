package pipeline

import (
	"sync"
	"time"
)

// How often within which time a directory must show what a rival has announced, and for how long that is reported afterwards. Once
// means nothing: what a node announced before it got a new key, or before its directory was restored from a copy, is there still.
const (
	rivalTimes  = 3
	rivalWithin = 2 * time.Minute
	rivalFor    = 5 * time.Minute
)

// rivals is what is known of others that announce themselves under this node's name. The zero value knows of none.
type rivals struct {
	mu       sync.Mutex
	otherKey sightings // another node
	ownKey   sightings // another process with this node's identity
}

// sightings are the times at which the directory has shown something of a rival.
type sightings struct {
	last  [rivalTimes]time.Time
	often time.Time // when it was last seen often enough to be reported
}

// see notes a sighting and reports whether a person is to be told of it.
func (s *sightings) see(now time.Time) (tell bool) {
	copy(s.last[:], s.last[1:])
	s.last[rivalTimes-1] = now
	if now.Sub(s.last[0]) > rivalWithin {
		return false
	}
	tell = !s.reported(now)
	s.often = now
	return tell
}

func (s *sightings) reported(now time.Time) bool { return now.Sub(s.often) < rivalFor }

// see notes that the directory shows under this node's name what this process has not announced, and reports whether a person is to
// be told.
func (r *rivals) see(ownKey bool) (tell bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ownKey {
		return r.ownKey.see(time.Now())
	}
	return r.otherKey.see(time.Now())
}

// problem says which rivals of the node there are, in plain words; it is empty where there are none.
func (r *rivals) problem(node string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch now := time.Now(); {
	case r.ownKey.reported(now):
		return "another process runs with this node's identity (a copied data_dir?): messages are divided between the two; stop one"
	case r.otherKey.reported(now):
		return "another node announces itself as " + node + " with another key, so that peers hear now the one and now the other; give each node its own name"
	}
	return ""
}

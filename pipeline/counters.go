package pipeline

import (
	"maps"
	"sync"
)

// counters counts by reason. The zero value is ready.
type counters struct {
	mu sync.Mutex
	n  map[string]uint64
}

// add counts n more and reports whether they are the first of their reason.
func (c *counters) add(reason string, n uint64) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[string]uint64)
	}
	first = c.n[reason] == 0
	c.n[reason] += n
	return first
}

func (c *counters) all() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n)
}

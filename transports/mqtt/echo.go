package mqtt

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// echoLife is how long a published message may take to come back.
const echoLife = time.Minute

// echoGuard keeps out what the session itself has published, where the broker does not. It counts: each publication lets
// one message of its topic and payload disappear, so that the same message from somebody else arrives as often as
// it was sent.
type echoGuard struct {
	on    atomic.Bool
	seed  maphash.Seed
	count atomic.Uint64 // echoes kept out

	mu       sync.Mutex
	expected map[uint64]echo
}

type echo struct {
	n     int
	until time.Time
}

func newEchoGuard() *echoGuard {
	return &echoGuard{seed: maphash.MakeSeed(), expected: make(map[uint64]echo)}
}

func (g *echoGuard) hash(p Publication) uint64 {
	var h maphash.Hash
	h.SetSeed(g.seed)
	h.WriteString(p.Topic)
	h.WriteByte(0) // no topic holds it
	h.Write(p.Payload)
	return h.Sum64()
}

// published expects one echo of p.
func (g *echoGuard) published(p Publication) {
	key := g.hash(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expected[key] = echo{n: g.expected[key].n + 1, until: time.Now().Add(echoLife)}
}

// took reports whether p is an echo, and expects one less.
func (g *echoGuard) took(p Publication) bool {
	if !g.on.Load() {
		return false
	}
	key := g.hash(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok := g.expected[key]
	if !ok {
		return false
	}
	if e.n--; e.n == 0 {
		delete(g.expected, key)
	} else {
		g.expected[key] = e
	}
	g.count.Add(1)
	return true
}

// sweep forgets echoes that never came.
func (g *echoGuard) sweep(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, e := range g.expected {
		if now.After(e.until) {
			delete(g.expected, key)
		}
	}
}

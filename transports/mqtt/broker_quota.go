package mqtt

import "sync"

// quota counts what waits for each session at QoS 1 and 2.
type quota struct {
	limit int64 // bytes of one session

	mu   sync.Mutex
	held map[string]*holding // by client
}

type holding struct {
	bytes int64
	sizes map[uint16]int64 // by packet identifier
}

func newQuota(limit int64) *quota { return &quota{limit: limit, held: make(map[string]*holding)} }

func (q *quota) hold(client string, id uint16, size int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.held[client]
	if h == nil {
		h = &holding{sizes: make(map[uint16]int64)}
		q.held[client] = h
	}
	h.bytes += size - h.sizes[id]
	h.sizes[id] = size
}

func (q *quota) release(client string, id uint16) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.held[client]
	if h == nil {
		return
	}
	h.bytes -= h.sizes[id]
	if delete(h.sizes, id); len(h.sizes) == 0 {
		delete(q.held, client)
	}
}

func (q *quota) full(client string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.held[client]
	return h != nil && h.bytes >= q.limit
}

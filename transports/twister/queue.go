package twister

import (
	"container/heap"
	"context"
	"errors"
	"sync"
)

// queue is what waits to be posted. It is guarded by the poster's lock.
type queue struct {
	heap entries
	last int // order of the last that was pushed
	head int // order of the last that was put back
}

// post is what the poster sends.
type post struct {
	to string // empty: a public post
	// text returns what to send as the post k, and is called for each attempt. An empty text says that there is nothing to send
	// any more: the post is left out, and that is no error.
	text     func(k int) string
	priority int
}

// waiting is a post in the queue.
type waiting struct {
	post
	ctx  context.Context
	done func(k int, err error)

	mu  sync.Mutex
	why error // of the last attempt
}

// ended is the error of a post whose context has ended.
func (w *waiting) ended(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(ctx.Err(), w.why)
}

func (w *waiting) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.why = err
}

type entry struct {
	*waiting
	order int
}

func (q *queue) push(w *waiting) {
	q.last++
	heap.Push(&q.heap, entry{w, q.last})
}

// unpop puts one back before all others of its priority.
func (q *queue) unpop(w *waiting) {
	q.head--
	heap.Push(&q.heap, entry{w, q.head})
}

// first returns what goes next, nil if nothing waits.
func (q *queue) first() *waiting {
	if len(q.heap) == 0 {
		return nil
	}
	return q.heap[0].waiting
}

func (q *queue) pop() *waiting {
	e, _ := heap.Pop(&q.heap).(entry)
	return e.waiting
}

// entries implements heap.Interface.
type entries []entry

func (e entries) Len() int { return len(e) }

func (e entries) Less(i, j int) bool {
	if e[i].priority != e[j].priority {
		return e[i].priority > e[j].priority
	}
	return e[i].order < e[j].order
}

func (e entries) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

func (e *entries) Push(x any) {
	item, _ := x.(entry)
	*e = append(*e, item)
}

func (e *entries) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = entry{}
	*e = old[:len(old)-1]
	return last
}

package twister

import (
	"container/heap"
	"context"
	"errors"
	"sync"
)

// queue is what waits to be posted. Receipts go first, since their sender spends posts while he waits, but no two in a row while
// anything else waits: a peer who sends all the time would have all posts. It is guarded by the poster's lock.
type queue struct {
	receipts entries
	others   entries
	turn     bool // a receipt was the last that was posted: it is the turn of the others
	rode     bool // the last receipt in line was given the chance to ride
	last     int  // order of the last that was pushed
	head     int  // order of the last that was put back
}

// post is what the poster sends.
type post struct {
	to string // empty: a public post
	// text returns what to send as the post k, and is called for each attempt. An empty text says that there is nothing to send
	// any more: the post is left out, and that is no error.
	text     func(k int) string
	priority int
	receipt  bool // it brings nothing else
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
	heap.Push(q.of(w), entry{w, q.last})
}

// unpop puts one back before all others of its priority.
func (q *queue) unpop(w *waiting) {
	q.head--
	heap.Push(q.of(w), entry{w, q.head})
}

func (q *queue) of(w *waiting) *entries {
	if w.receipt {
		return &q.receipts
	}
	return &q.others
}

// choose returns what goes next: its heap, and where it is there. In the place of a receipt goes what waits for the same recipient, and takes it along.
// Should that leave something owed, the receipt goes by itself.
func (q *queue) choose() (from *entries, at int) {
	if len(q.receipts) == 0 || q.turn && len(q.others) > 0 {
		return &q.others, 0
	}
	best := -1
	for i, e := range q.others {
		if e.to == q.receipts[0].to && (best < 0 || q.others.Less(i, best)) {
			best = i
		}
	}
	if best < 0 || q.rode {
		return &q.receipts, 0
	}
	return &q.others, best
}

// first returns what goes next, nil if nothing waits.
func (q *queue) first() *waiting {
	from, at := q.choose()
	if len(*from) == 0 {
		return nil
	}
	return (*from)[at].waiting
}

func (q *queue) pop() *waiting {
	from, at := q.choose()
	q.rode = from == &q.others && len(q.receipts) > 0 && !q.turn
	e, _ := heap.Remove(from, at).(entry)
	return e.waiting
}

// posted says that the daemon has taken one.
func (q *queue) posted(w *waiting) { q.turn = w.receipt }

func (q *queue) len() int { return len(q.receipts) + len(q.others) }

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

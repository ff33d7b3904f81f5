package lanes

import "sort"

// ring holds the QoS 0 messages: in memory only, the newest ones up to a number of bytes.
type ring struct {
	items []item
	bytes int
	limit int
}

// first returns the lane's first unread message.
func (r *ring) first(l *Lane) *item {
	q := &l.volatile
	if q.unread == 0 {
		return nil
	}
	for i := r.index(q.from); i < len(r.items); i++ {
		if it := &r.items[i]; it.set.bits.has(l.slot) {
			q.from = it.msg.Seq
			return it
		}
	}
	return nil
}

func (r *ring) index(seq uint64) int {
	return sort.Search(len(r.items), func(i int) bool { return r.items[i].msg.Seq >= seq })
}

func (r *ring) holds(seq uint64) bool { return len(r.items) > 0 && r.items[0].msg.Seq <= seq }

// push adds a message and lets go of the oldest ones beyond the limit: the lanes that have not read those yet drop them.
func (r *ring) push(it item) {
	r.bytes += memoryOf(&it.msg)
	r.items = append(r.items, it)
	for r.bytes > r.limit {
		old := &r.items[0]
		for _, l := range old.set.lanes {
			if q := &l.volatile; q.unread > 0 && q.from <= old.msg.Seq {
				q.pass(old.msg.Seq, int64(Size(&old.msg)))
				l.count(ReasonQoS0, 1)
			}
		}
		r.bytes -= memoryOf(&old.msg)
		*old = item{}
		r.items = r.items[1:]
	}
}

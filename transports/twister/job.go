package twister

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// job is one piece to post.
type job struct {
	frame *outFrame
	index int
	asks  bool
}

// queue marks the pieces of a frame that are to be posted. It is called under the lock; start follows without it.
func (o *outbox) queue(f *outFrame, which func(outPiece) bool) []job {
	var jobs []job
	for i := range f.pieces {
		if p := &f.pieces[i]; !p.queued && !p.had && which(*p) {
			p.queued = true
			f.queued++
			jobs = append(jobs, job{frame: f, index: i})
		}
	}
	return jobs
}

func (o *outbox) start(jobs []job) {
	for _, j := range jobs {
		var riding *receipt
		o.post(post{
			to: o.to, priority: j.frame.priority,
			text: func(k int) string {
				if riding != nil { // of an attempt that failed
					o.rode(riding, false)
				}
				var text string
				text, riding = o.text(j, k)
				return text
			},
		}, func(k int, err error) {
			if riding != nil {
				o.rode(riding, k >= 0)
			}
			o.posted(j, k, err)
		})
	}
}

// text returns the message of a piece, and the receipt that rides on it; an empty one if the piece is not wanted any more.
func (o *outbox) text(j job, k int) (string, *receipt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := j.frame
	if f.confirmed() || f.pieces[j.index].had {
		return "", nil
	}
	if f.number == 0 {
		o.number(f)
	}
	h := header{k: k, receipt: o.ride(), piece: &piece{
		epoch: o.epoch, number: f.number, back: o.back(f.number), index: j.index, count: len(f.pieces), unreceipted: !o.receipts, asks: j.asks,
		uuid: uuidOf(f.data, j.index, f.uuid), data: pieceOf(f.data, j.index),
	}}
	return h.text(), h.receipt
}

// number gives a frame the next number and puts it behind those that have one.
func (o *outbox) number(f *outFrame) {
	f.number = o.next
	o.next++
	slices.SortStableFunc(o.frames, func(a, b *outFrame) int {
		return cmp.Compare(uint(a.number)-1, uint(b.number)-1) // none, 0, comes last
	})
}

// back returns how far before a number the first is that the recipient must still wait for. Without receipts nobody knows: he gets a
// while to put posts in order.
func (o *outbox) back(number int) int {
	if !o.receipts {
		return min(number-1, 2*maxAhead-1)
	}
	return number - o.frames[0].number
}

// posted takes in what became of a piece.
func (o *outbox) posted(j job, k int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f, p := j.frame, &j.frame.pieces[j.index]
	p.queued = false
	f.queued--
	if k >= 0 {
		p.k, p.at = k, time.Now()
	}
	if err != nil {
		for _, failed := range f.waiters {
			select {
			case failed <- err:
			default:
			}
		}
	}
	switch {
	case f.confirmed() || f.queued > 0:
	case slices.ContainsFunc(f.pieces, func(p outPiece) bool { return p.k < 0 && !p.had }):
		f.due = time.Now().Add(min(retryRefused, o.resend))
	case !o.receipts:
		o.confirm(f)
	default:
		f.due = time.Now().Add(f.patience*9/10 + rand.N(f.patience/5+1))
		f.patience = min(2*f.patience, max(maxPatience, o.resend))
	}
}

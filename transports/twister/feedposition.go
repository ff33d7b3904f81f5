package twister

import (
	"log/slog"
	"slices"
)

// feedPosition is how far a peer's posts are read.
type feedPosition struct {
	Began bool  `json:"began"`           // K is known
	Since int64 `json:"since,omitempty"` // Unix time at which the peer was first followed, while older posts may still come
	K     int   `json:"k"`               // all up to here is done with
	// Aside are the ks above K that are done with as well: what came between the parts of a frame that is not whole.
	Aside  []int    `json:"aside,omitempty"`
	Recent []string `json:"recent,omitempty"` // ids of the frames that were delivered last
}

// save keeps the position. It says nothing to the reader of an error: the worst is that messages come again after a restart.
func (r *follower) save() {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.at
	at.Aside, at.Recent = slices.Clone(at.Aside), slices.Clone(at.Recent)
	r.kept[r.peer] = at
	if err := saveState(r.path, r.kept); err != nil {
		r.log.Error("position in public posts is not kept: after a restart messages come again", slog.Any("err", err))
	}
}

// move goes on to a post from which nothing was delivered; disk learns of it with the next that is.
func (r *follower) move(k int) {
	r.k = k
	if r.parts.next == 0 {
		r.at.K, r.at.Aside = k, nil
	}
}

// done goes on to a post that was delivered.
func (r *follower) done(k int) {
	r.move(k)
	if r.parts.next > 0 && len(r.at.Aside) < maxAside {
		r.at.Aside = append(r.at.Aside, k)
	}
	r.save()
}

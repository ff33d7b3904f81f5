package twister

import "time"

// A user may post any k up to 2 * (best height - registration height) + 20 (contract, section 3). No call tells the height of the
// registration, so it is kept between bounds, which what happens to posts moves together:
//
//   - a post k that was accepted at a height proves a registration at most (k-20)/2 blocks before it;
//   - a post k that was refused proves a later one, and costs nothing;
//   - a registration by this node says when it was.
//
// Until the bounds have met, posts are tried. Then the margin is kept, and what is left is spent the slower the less it is: with
// smooth posts or more left the next goes at once, with fewer it keeps a distance from the last one that grows in proportion to
// what is missing, up to the time in which blocks bring a new one. What is never reached by that is waited for.
const (
	freePosts = 20
	perBlock  = 2
	smooth    = 48

	// blockTime is the distance of two blocks as the chain aims at it, used until enough blocks were seen.
	blockTime    = 10 * time.Minute
	maxBlockTime = time.Hour
	blocksSeen   = 12 // over which the distance is measured
	blocksOnce   = 3  // that may come between two looks; more were fetched, and say nothing of when they were made
)

// Budget is what a user may post.
type Budget struct {
	Used int // posts so far, gaps included
	Left int // posts now, beside the margin
	// Known says that Left is exact. Otherwise there may be more: what is not known yet is tried.
	Known bool
	// Refill is how long a new post takes to come, on average.
	Refill time.Duration
	Height int // best block
}

// bounds are the lowest and the highest height at which the user can have been registered; 0 for none.
type bounds struct {
	Low  int `json:"low"`
	High int `json:"high"`
}

// accepted takes in that a post k was accepted at a best height.
func (b *bounds) accepted(height, k int) {
	high := height - (max(k-freePosts, 0)+1)/perBlock // rounded up: height - high >= (k-20)/2
	if b.High == 0 || high < b.High {
		b.High = high
	}
	if b.Low > b.High { // the chain has been reorganised
		b.Low = 0
	}
}

// refused takes in that a post k, of which the first 20 are free, was refused at a best height.
func (b *bounds) refused(height, k int) {
	if k <= freePosts {
		return // not for its k
	}
	b.Low = max(b.Low, height-(k-freePosts-1)/perBlock) // height - low < (k-20)/2
	if b.High != 0 && b.High < b.Low {
		b.High = 0
	}
}

// registered takes in where the user was registered.
func (b *bounds) registered(height int) { b.Low, b.High = height, height }

// met reports whether the bounds tell the registration to a block.
func (b *bounds) met() bool { return b.Low != 0 && b.High != 0 && b.High-b.Low <= 1 }

// left returns how many posts from next on are certain to be accepted at a height while the margin is kept.
func (b *bounds) left(height, next, margin int) int {
	if b.High == 0 {
		return 0
	}
	return max(0, perBlock*(height-b.High)+freePosts-margin-next+1)
}

// budget is when posts may go. It is used by one goroutine at a time.
type budget struct {
	bounds
	margin int

	blocks  []seen // the last heights, each with when it was seen first
	refusal int    // the height at which the last post was refused; nothing is tried before the next block. 0 for none
	last    time.Time
}

type seen struct {
	height int
	at     time.Time
}

// block takes in the best height.
func (b *budget) block(height int, now time.Time) {
	if height <= b.height() {
		return
	}
	if height > b.height()+blocksOnce {
		b.blocks = nil
	}
	b.blocks = append(b.blocks, seen{height, now})
	if len(b.blocks) > blocksSeen {
		b.blocks = b.blocks[1:]
	}
}

// height returns the best height, 0 if none is known.
func (b *budget) height() int {
	if len(b.blocks) == 0 {
		return 0
	}
	return b.blocks[len(b.blocks)-1].height
}

// refill returns how long a new post takes to come.
func (b *budget) refill() time.Duration {
	if n := len(b.blocks); n > 2 {
		first, last := b.blocks[1], b.blocks[n-1] // the first was seen when it was not new
		if grown := last.height - first.height; grown > 0 {
			return min(last.at.Sub(first.at)/time.Duration(grown), maxBlockTime) / perBlock
		}
	}
	return blockTime / perBlock
}

// wait returns how long the post next must wait: 0 for not at all, and a negative number for until a block comes.
func (b *budget) wait(next int, now time.Time) time.Duration {
	if b.refusal != 0 && b.height() <= b.refusal {
		return -1
	}
	if !b.met() {
		return 0
	}
	left := b.left(b.height(), next, b.margin)
	switch {
	case left == 0:
		return -1
	case left >= smooth:
		return 0
	}
	distance := b.refill() * time.Duration(smooth-left) / smooth
	return max(0, b.last.Add(distance).Sub(now))
}

// accept takes in that the post k was accepted at a height.
func (b *budget) accept(height, k int, now time.Time) {
	b.accepted(height, k)
	b.refusal, b.last = 0, now
}

// refuse takes in that the post k was refused at a height.
func (b *budget) refuse(height, k int) {
	b.refused(height, k)
	b.refusal = max(height, b.height())
}

func (b *budget) report(next int) Budget {
	return Budget{Used: next, Left: b.left(b.height(), next, b.margin), Known: b.met(), Refill: b.refill(), Height: b.height()}
}

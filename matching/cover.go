package matching

import (
	"slices"
	"strings"
)

// Cover returns filters, sorted, such that every topic that any of filters matches is matched by exactly one of them. It
// is what to subscribe to at a broker that delivers a message once for every subscription that matches, as Mosquitto does.
//
// A filter that another one covers is left out. Two that overlap otherwise give way to the narrowest filter that covers
// both: "a/+/c" and "a/b/#" become "a/+/#". So the result may match more than was asked for, but only where two of filters
// overlap and neither covers the other. It depends neither on the order of filters nor on repetitions.
//
// The cost grows with the total length of filters, times their number for those with "+" in an early level.
func Cover(filters []string) []string {
	var plain, dollar branch // these never overlap, for a wildcard at the start hides "$" [MQTT-4.7.2-1]
	for _, filter := range filters {
		if strings.HasPrefix(filter, "$") {
			dollar.join(filter)
		} else {
			plain.join(expand(filter))
		}
	}
	cover := dollar.appendTo(plain.appendTo(nil))
	for i := range cover {
		cover[i] = shorten(cover[i])
	}
	slices.Sort(cover)
	return cover
}

// branch is a mutable trie of filters of which no two overlap.
type branch struct {
	filter string             // the filter that ends here, or ""
	below  map[string]*branch // by level, wildcards like any other; none of them is empty
	count  int                // of filters here and below
}

// join adds filter, merged with every filter that it overlaps.
func (b *branch) join(filter string) {
	for {
		other := b.overlapping(filter, true)
		if other == "" {
			b.insert(filter)
			return
		}
		if Covers(other, filter) {
			return
		}
		b.remove(other)
		filter = union(filter, other) // wider than before: it may overlap others now
	}
}

// overlapping returns a filter at or below b that overlaps rest, or "". rest is what remains, at this depth, of the filter
// asked for; where it has ended, more is false.
func (b *branch) overlapping(rest string, more bool) string {
	if last := b.below[many]; last != nil {
		return last.filter
	}
	if !more {
		return b.filter
	}
	level, rest, more := strings.Cut(rest, "/")
	switch level {
	case many:
		return b.any()
	case one:
		for _, next := range b.below {
			if other := next.overlapping(rest, more); other != "" {
				return other
			}
		}
		return ""
	}
	for _, name := range [...]string{level, one} {
		if next := b.below[name]; next != nil {
			if other := next.overlapping(rest, more); other != "" {
				return other
			}
		}
	}
	return ""
}

// union returns the narrowest filter that covers both a and b, which must overlap.
func union(a, b string) string {
	var levels []string
	for {
		levelA, restA, moreA := strings.Cut(a, "/")
		levelB, restB, moreB := strings.Cut(b, "/")
		switch {
		case levelA == many || levelB == many:
			return strings.Join(append(levels, many), "/")
		case levelA == levelB:
			levels = append(levels, levelA)
		default:
			levels = append(levels, one)
		}
		if !moreA && !moreB {
			return strings.Join(levels, "/")
		}
		if !moreA || !moreB { // the longer one goes on with "#", or they would not overlap
			return strings.Join(append(levels, many), "/")
		}
		a, b = restA, restB
	}
}

func (b *branch) insert(filter string) {
	at := b
	for level := range strings.SplitSeq(filter, "/") {
		next := at.below[level]
		if next == nil {
			next = &branch{}
			if at.below == nil {
				at.below = make(map[string]*branch, 1)
			}
			at.below[level] = next
		}
		next.count++
		at = next
	}
	at.filter = filter
}

// remove takes out a filter that is there, and the branches that lead to nothing else.
func (b *branch) remove(filter string) {
	at := b
	for level := range strings.SplitSeq(filter, "/") {
		next := at.below[level]
		if next.count == 1 {
			delete(at.below, level)
			return
		}
		next.count--
		at = next
	}
	at.filter = ""
}

// any returns one of the filters at or below b.
func (b *branch) any() string {
	for _, next := range b.below {
		return next.any()
	}
	return b.filter
}

// appendTo appends the filters at and below b to dst.
func (b *branch) appendTo(dst []string) []string {
	if b.filter != "" {
		dst = append(dst, b.filter)
	}
	for _, next := range b.below {
		dst = next.appendTo(dst)
	}
	return dst
}

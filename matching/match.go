package matching

import "strings"

// Match reports whether filter matches topic. It does not allocate.
func Match(filter, topic string) bool {
	return Covers(filter, topic) // a topic is a filter that matches itself alone
}

// Covers reports whether a matches every topic that b matches. It does not allocate.
func Covers(a, b string) bool {
	if hides(a, b) {
		return false
	}
	a, b = expand(a), expand(b)
	for {
		levelA, restA, moreA := strings.Cut(a, "/")
		if levelA == many {
			return true
		}
		levelB, restB, moreB := strings.Cut(b, "/")
		if levelB == many || levelA != one && levelA != levelB {
			return false
		}
		if !moreB {
			return !moreA || restA == many // "a/#" matches "a" as well [MQTT-4.7.1-2]
		}
		if !moreA {
			return false
		}
		a, b = restA, restB
	}
}

// Overlaps reports whether there is a topic that both a and b match. It does not allocate.
func Overlaps(a, b string) bool {
	if hides(a, b) || hides(b, a) {
		return false
	}
	a, b = expand(a), expand(b)
	for {
		levelA, restA, moreA := strings.Cut(a, "/")
		levelB, restB, moreB := strings.Cut(b, "/")
		switch {
		case levelA == many || levelB == many:
			return true
		case levelA != levelB && levelA != one && levelB != one:
			return false
		case !moreA:
			return !moreB || restB == many // "a/#" matches "a" as well [MQTT-4.7.1-2]
		case !moreB:
			return restA == many
		}
		a, b = restA, restB
	}
}

// hides reports whether filter begins with a wildcard and other, a filter or a topic, with "$": these have nothing in
// common [MQTT-4.7.2-1].
func hides(filter, other string) bool {
	return strings.HasPrefix(other, "$") && (strings.HasPrefix(filter, one) || strings.HasPrefix(filter, many))
}

// Two filters have a "#" whose parent level is no topic, for the empty topic does not exist [MQTT-4.7.3-1]. Each matches the
// same topics as a longer filter that is not such an exception.
const (
	all, allExpanded           = "#", "+/#"
	absolute, absoluteExpanded = "/#", "/+/#"
)

// expand returns the longer spelling where there are two.
func expand(filter string) string {
	switch filter {
	case all:
		return allExpanded
	case absolute:
		return absoluteExpanded
	}
	return filter
}

// shorten returns the shorter spelling where there are two.
func shorten(filter string) string {
	switch filter {
	case allExpanded:
		return all
	case absoluteExpanded:
		return absolute
	}
	return filter
}

package mqtt

import (
	"slices"
	"strings"
)

// filterMatches reports whether the topic name matches the topic filter, by MQTT 4.7. A shared subscription matches what
// the filter behind its group matches.
func filterMatches(filter, topic string) bool {
	filter = unshared(filter)
	if topic != "" && topic[0] == '$' && filter != "" && (filter[0] == '+' || filter[0] == '#') {
		return false // [MQTT-4.7.2-1]
	}
	for {
		f, restOfFilter, moreFilter := strings.Cut(filter, "/")
		if f == "#" {
			return true // [MQTT-4.7.1-2]
		}
		t, restOfTopic, moreTopic := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		switch {
		case !moreTopic:
			return !moreFilter || restOfFilter == "#" // "a/#" also matches its parent, "a"
		case !moreFilter:
			return false
		}
		filter, topic = restOfFilter, restOfTopic
	}
}

func anyMatches(filters []string, topic string) bool {
	return slices.ContainsFunc(filters, func(filter string) bool { return filterMatches(filter, topic) })
}

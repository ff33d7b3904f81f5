package matching_test

import (
	"math/rand/v2"
	"regexp"
	"strings"
)

// oracle is a filter's meaning told in another way: as a regular expression.
type oracle struct {
	pattern *regexp.Regexp
	hides   bool // "$" topics
}

func newOracle(filter string) oracle {
	pattern := regexp.QuoteMeta(filter)
	pattern = strings.ReplaceAll(pattern, `\+`, `[^/]*`)
	if parent, found := strings.CutSuffix(pattern, `/#`); found {
		pattern = parent + `(/.*)?`
	} else if pattern == `#` {
		pattern = `.*`
	}
	return oracle{
		pattern: regexp.MustCompile(`(?s)\A` + pattern + `\z`),
		hides:   strings.ContainsAny(filter[:1], "+#"),
	}
}

func (o oracle) matches(topic string) bool {
	return !(o.hides && topic[0] == '$') && o.pattern.MatchString(topic)
}

// every returns all non-empty joins of one to depth of the levels.
func every(depth int, levels ...string) []string {
	var all []string
	last := levels
	for range depth {
		for _, joined := range last {
			if joined != "" {
				all = append(all, joined)
			}
		}
		var next []string
		for _, joined := range last {
			for _, level := range levels {
				next = append(next, joined+"/"+level)
			}
		}
		last = next
	}
	return all
}

// random returns a join of one to six of the levels that is not empty.
func random(rng *rand.Rand, levels []string) string {
	for {
		parts := make([]string, 1+rng.IntN(6))
		for i := range parts {
			parts[i] = levels[rng.IntN(len(levels))]
		}
		if joined := strings.Join(parts, "/"); joined != "" {
			return joined
		}
	}
}

var (
	topicLevels  = []string{"a", "b", "ab", "", "$s", " ", "é"}
	filterLevels = append([]string{"+", "+", "+"}, topicLevels...)
)

func randomTopic(rng *rand.Rand) string { return random(rng, topicLevels) }

func randomFilter(rng *rand.Rand) string {
	filter := random(rng, filterLevels)
	switch rng.IntN(20) {
	case 0:
		return "#"
	case 1, 2, 3, 4, 5:
		return filter + "/#"
	}
	return filter
}

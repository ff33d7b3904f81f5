package matching_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/weft-relay/weft/matching"
)

// The rows follow section 4.7 of the specification and the cases that Mosquitto's own tests guard.
var matchTests = []struct {
	filter, topic string
	want          bool
}{
	// Without wildcards: byte by byte, case and spaces count [MQTT-4.7.3-4].
	{"door", "door", true},
	{"door", "doors", false},
	{"doors", "door", false},
	{"door", "Door", false},
	{"door", "door ", false},
	{"kitchen/door", "kitchen/door", true},
	{"kitchen/door", "kitchen/window", false},
	{"kitchen/door", "kitchen", false},
	{"kitchen/door", "kitchen/door/lock", false},
	{"kitchen/door", "hall/door", false},
	{"garden shed/door", "garden shed/door", true},
	{"caf\u00e9", "cafe\u0301", false}, // looks alike, is not normalised
	{"\U0001F9F5/1", "\U0001F9F5/1", true},
	{"a.*", "a.b", false},
	{"a/>", "a/b", false},

	// Empty levels are levels.
	{"/door", "/door", true},
	{"/door", "door", false},
	{"door", "/door", false},
	{"door/", "door/", true},
	{"door/", "door", false},
	{"door", "door/", false},
	{"/", "/", true},
	{"//", "//", true},
	{"/", "//", false},
	{"//", "/", false},
	{"a//b", "a//b", true},
	{"a//b", "a/b", false},
	{"a/b", "a//b", false},

	// "+" is exactly one level, of any length [MQTT-4.7.1-3].
	{"+", "door", true},
	{"+", "/door", false},
	{"+", "door/", false},
	{"+", "/", false},
	{"/+", "/door", true},
	{"/+", "/", true},
	{"/+", "door", false},
	{"/+", "/door/lock", false},
	{"+/", "door/", true},
	{"+/", "door", false},
	{"+/+", "/door", true},
	{"+/+", "door/", true},
	{"+/+", "/", true},
	{"+/+", "kitchen/door", true},
	{"+/+", "door", false},
	{"+/+", "a/b/c", false},
	{"+/+/+", "//", true},
	{"kitchen/+", "kitchen/door", true},
	{"kitchen/+", "kitchen/", true},
	{"kitchen/+", "kitchen", false},
	{"kitchen/+", "kitchen/door/lock", false},
	{"kitchen/+", "hall/door", false},
	{"kitchen/+/", "kitchen/door", false},
	{"kitchen/+/", "kitchen/door/", true},
	{"kitchen/+/lock", "kitchen/door/lock", true},
	{"kitchen/+/lock", "kitchen//lock", true},
	{"kitchen/+/lock", "kitchen/lock", false},
	{"kitchen/+/lock", "kitchen/door/key", false},
	{"kitchen/+/lock", "kitchen/a/b/lock", false},
	{"+/door", "kitchen/door", true},
	{"+/door", "/door", true},
	{"+/door", "a/b/door", false},
	{"+/+/lock", "a/b/lock", true},
	{"a/+/+/d", "a/b/c/d", true},
	{"a/+/+/d", "a/b/d", false},
	{"a/+/+/d", "a///d", true},

	// "#" is any number of levels, none included [MQTT-4.7.1-2].
	{"#", "door", true},
	{"#", "/door", true},
	{"#", "/", true},
	{"#", "a/b/c/d/e/f", true},
	{"/#", "/", true},
	{"/#", "/door", true},
	{"/#", "/a/b", true},
	{"/#", "door", false},
	{"kitchen/#", "kitchen", true},
	{"kitchen/#", "kitchen/", true},
	{"kitchen/#", "kitchen/door", true},
	{"kitchen/#", "kitchen/door/lock", true},
	{"kitchen/#", "kitchens", false},
	{"kitchen/#", "kitchens/door", false},
	{"kitchen/#", "hall/kitchen", false},
	{"kitchen//#", "kitchen", false},
	{"kitchen//#", "kitchen/", true},
	{"kitchen//#", "kitchen//door", true},
	{"kitchen/door/#", "kitchen/door", true},
	{"kitchen/door/#", "kitchen", false},

	// Both together.
	{"+/#", "a", true},
	{"+/#", "/", true},
	{"+/#", "a/b/c", true},
	{"+/+/#", "a", false},
	{"+/+/#", "a/b", true},
	{"+/+/#", "a/b/c/d", true},
	{"kitchen/+/#", "kitchen", false},
	{"kitchen/+/#", "kitchen/door", true},
	{"kitchen/+/#", "kitchen//lock", true},
	{"+/door/#", "kitchen/door", true},
	{"+/door/#", "kitchen/window/door", false},
	{"/+/door/+/#", "/kitchen/door", false},
	{"/+/door/+/#", "/kitchen/door/lock", true},

	// "$" at the very start hides from wildcards at the very start, and from nothing else [MQTT-4.7.2-1].
	{"#", "$SYS/load", false},
	{"#", "$", false},
	{"+", "$SYS", false},
	{"+/load", "$SYS/load", false},
	{"+/#", "$SYS/load", false},
	{"+/+", "$SYS/load", false},
	{"$SYS/#", "$SYS/load", true},
	{"$SYS/#", "$SYS", true},
	{"$SYS/+", "$SYS/load", true},
	{"$SYS/load", "$SYS/load", true},
	{"$SYS/#", "$SYSTEM/load", false},
	{"$/#", "$/load", true},
	{"/#", "/$SYS", true},
	{"/+", "/$SYS", true},
	{"+/+", "a/$SYS", true},
	{"a/#", "a/$SYS/b", true},
}

func TestMatchFollowsTheSpecification(t *testing.T) {
	for _, tt := range matchTests {
		require.NoError(t, matching.ValidateFilter(tt.filter))
		require.NoError(t, matching.ValidateTopic(tt.topic))
		assert.Equal(t, tt.want, matching.Match(tt.filter, tt.topic), "filter %q, topic %q", tt.filter, tt.topic)
		assert.Equal(t, tt.want, newOracle(tt.filter).matches(tt.topic), "the oracle: filter %q, topic %q", tt.filter, tt.topic)
	}
}

func TestMatchEqualsRegularExpressionsOnAMillionPairs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	topics := make([]string, 1000)
	for i := range topics {
		topics[i] = randomTopic(rng)
	}
	matches := 0
	for range 1000 {
		filter := randomFilter(rng)
		oracle := newOracle(filter)
		for _, topic := range topics {
			got := matching.Match(filter, topic)
			if got != oracle.matches(topic) {
				t.Fatalf("filter %q, topic %q: got %t", filter, topic, got)
			}
			if got {
				matches++
			}
		}
	}
	assert.Greater(t, matches, 10_000, "the pairs must not be all misses")
}

func TestMatchDoesNotAllocate(t *testing.T) {
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		matching.Match("site/+/room/+/#", "site/1/room/2/door/3")
		matching.Overlaps("site/+/room/#", "site/1/+/2")
	}))
}

// universe is small enough to try everything: every filter of up to three levels, and every topic that can tell two of
// them apart (one level deeper, and with levels that no filter names).
type universe struct {
	filters, topics []string
	matches         [][]bool // by filter and topic, according to the oracle
}

func newUniverse() *universe {
	u := &universe{topics: every(4, "a", "", "$s", "z", "$z")}
	for _, filter := range every(3, "a", "", "$s", "+", "#") {
		if matching.ValidateFilter(filter) == nil {
			u.filters = append(u.filters, filter)
		}
	}
	for _, filter := range u.filters {
		oracle := newOracle(filter)
		row := make([]bool, len(u.topics))
		for i, topic := range u.topics {
			row[i] = oracle.matches(topic)
		}
		u.matches = append(u.matches, row)
	}
	return u
}

// compare returns whether filter i matches all that filter j matches, and whether they have any topic in common.
func (u *universe) compare(i, j int) (covers, overlaps bool) {
	covers = true
	for topic, matched := range u.matches[j] {
		covers = covers && (!matched || u.matches[i][topic])
		overlaps = overlaps || matched && u.matches[i][topic]
	}
	return covers, overlaps
}

func TestCoversAndOverlapsHoldForAllSmallFilters(t *testing.T) {
	u := newUniverse()
	require.Greater(t, len(u.filters), 90)
	for i, a := range u.filters {
		for topic, want := range u.matches[i] {
			require.Equal(t, want, matching.Match(a, u.topics[topic]), "filter %q, topic %q", a, u.topics[topic])
		}
		for j, b := range u.filters {
			covers, overlaps := u.compare(i, j)
			require.Equal(t, covers, matching.Covers(a, b), "does %q cover %q", a, b)
			require.Equal(t, overlaps, matching.Overlaps(a, b), "does %q overlap %q", a, b)
		}
	}
}

package matching_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/weft-relay/weft/matching"
)

func TestCoverIsDisjointAndNarrow(t *testing.T) {
	tests := []struct{ filters, want string }{
		{"", ""},
		{"a", "a"},
		{"a a a", "a"},
		{"b a", "a b"},
		{"a a/b a/b/c", "a a/b a/b/c"},
		{"a a/#", "a/#"},
		{"a/# a/b/c a/+/d", "a/#"},
		{"a/b a/+", "a/+"},
		{"a/+ a/+/+", "a/+ a/+/+"},
		{"a/+/c a/b/#", "a/+/#"},
		{"a/+/c a/b/+", "a/+/+"},
		{"a/+ +/b", "+/+"},
		{"a/# +/b", "#"}, // "a/#" matches "a", so "+/+/#" is too narrow
		{"a/+/# +/b", "+/+/#"},
		{"a/+/c a/b/# z", "a/+/# z"},
		{"a/+/c a/b/# a/x/y", "a/+/#"},        // the merged filter covers the third
		{"a/+/c a/b/# +/x/y/z", "+/+/#"},      // and overlaps it
		{"# $SYS/# $SYS/a $x", "# $SYS/# $x"}, // "#" does not cover "$" topics
		{"+/a $SYS/+ $SYS/a", "$SYS/+ +/a"},   // nor does "+"
		{"$SYS/+/a $SYS/b/+ +/+/a", "$SYS/+/+ +/+/a"},
		{"+/# a", "#"},
		{"+/#", "#"},
		{"+ /", "+ /"},
		{"+/+ /", "+/+"},
		{"/# +", "+ /#"}, // there is no empty topic that both could match
		{"/+/#", "/#"},
		{"/# +/+", "+/+/#"},
	}
	for _, tt := range tests {
		want := strings.Fields(tt.want)
		slices.Sort(want)
		got := matching.Cover(strings.Fields(tt.filters))
		assert.Equal(t, want, append([]string{}, got...), "cover of %s", tt.filters)
	}
}

// narrowest returns a table of the narrowest filter that covers both of two, found by trying all.
func (u *universe) narrowest(t *testing.T) [][]int {
	covers := make([][]bool, len(u.filters))
	for i := range u.filters {
		for j := range u.filters {
			c, _ := u.compare(i, j)
			covers[i] = append(covers[i], c)
		}
	}
	table := make([][]int, len(u.filters))
	for i := range u.filters {
		for j := range u.filters {
			best := -1
			for k := range u.filters {
				if covers[k][i] && covers[k][j] && (best < 0 || covers[best][k]) {
					best = k
				}
			}
			_, overlaps := u.compare(i, j)
			require.True(t, best >= 0 || !overlaps, "%q and %q", u.filters[i], u.filters[j])
			table[i] = append(table[i], best)
		}
	}
	return table
}

// merged is Cover by its definition: while any two overlap, replace them by the narrowest filter that covers both.
func (u *universe) merged(filters []int, narrowest [][]int) []int {
	for i := range filters {
		for j := range i {
			if _, overlaps := u.compare(filters[i], filters[j]); overlaps {
				rest := slices.Delete(slices.Clone(filters), i, i+1)
				rest[j] = narrowest[filters[i]][filters[j]]
				return u.merged(rest, narrowest)
			}
		}
	}
	return filters
}

func TestCoverEqualsItsDefinition(t *testing.T) {
	u := newUniverse()
	narrowest := u.narrowest(t)
	rng := rand.New(rand.NewPCG(3, 4))
	merges := 0
	for range 5000 {
		chosen := make([]int, 1+rng.IntN(6))
		filters := make([]string, len(chosen))
		for i := range chosen {
			chosen[i] = rng.IntN(len(u.filters))
			filters[i] = u.filters[chosen[i]]
		}
		var want []string
		for _, i := range u.merged(chosen, narrowest) {
			filter := u.filters[i]
			switch filter { // two spellings of one meaning
			case "+/#":
				filter = "#"
			case "/+/#":
				filter = "/#"
			}
			want = append(want, filter)
			if !slices.Contains(filters, filter) {
				merges++
			}
		}
		slices.Sort(want)
		got := matching.Cover(filters)
		require.Equal(t, want, got, "cover of %q", filters)
		rng.Shuffle(len(filters), func(i, j int) { filters[i], filters[j] = filters[j], filters[i] })
		require.Equal(t, got, matching.Cover(filters), "in another order: %q", filters)
	}
	assert.Greater(t, merges, 100, "some must have been merged")
}

// checkCover checks that whatever filters match, the cover matches exactly once, and nothing more than once.
func checkCover(t *testing.T, filters, topics []string) {
	t.Helper()
	cover := matching.Cover(filters)
	for i, filter := range cover {
		require.NoError(t, matching.ValidateFilter(filter))
		for _, other := range cover[:i] {
			require.False(t, matching.Overlaps(filter, other), "%q and %q in the cover of %q", filter, other, filters)
		}
	}
	for _, topic := range topics {
		matches := func(filter string) bool { return matching.Match(filter, topic) }
		count := 0
		for _, filter := range cover {
			if matches(filter) {
				count++
			}
		}
		require.LessOrEqual(t, count, 1, "topic %q, cover %q of %q", topic, cover, filters)
		if slices.ContainsFunc(filters, matches) {
			require.Equal(t, 1, count, "topic %q, cover %q of %q", topic, cover, filters)
		}
	}
}

func TestCoverMatchesEveryWantedTopicOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		filters, topics := make([]string, 8), make([]string, 50)
		for i := range filters {
			filters[i] = randomFilter(rng)
		}
		for i := range topics {
			topics[i] = randomTopic(rng)
		}
		checkCover(t, filters, topics)
	}
}

func FuzzCoverMatchesEveryWantedTopicOnce(f *testing.F) {
	f.Add("a/+/c\na/b/#", "a/b/c")
	f.Add("a/#\n+/b", "a")
	f.Add("#\n$SYS/#\n$SYS/+/x", "$SYS/a/x")
	f.Add("+/#\n/\n+", "/")
	f.Add("+/a/#\n+/+/b\n\n//", "//b")
	f.Fuzz(func(t *testing.T, lines, topic string) {
		filters := validFilters(lines)
		if matching.ValidateTopic(topic) == nil {
			checkCover(t, filters, []string{topic})
		}
	})
}

// validFilters returns the lines that are filters.
func validFilters(lines string) []string {
	return slices.DeleteFunc(strings.Split(lines, "\n"), func(line string) bool {
		return matching.ValidateFilter(line) != nil
	})
}

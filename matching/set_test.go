package matching_test

import (
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/weft-relay/weft/matching"
)

// numbered yields each filter with its index modulo owners as its owner.
func numbered(filters []string, owners int) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for i, filter := range filters {
			if !yield(filter, i%owners) {
				return
			}
		}
	}
}

func newSet(t testing.TB, filters []string, owners int) *matching.Set[int] {
	t.Helper()
	set, err := matching.NewSet(numbered(filters, owners))
	require.NoError(t, err)
	return set
}

// bruteForce returns the owners that a Set of numbered(filters, owners) must find, sorted.
func bruteForce(filters []string, owners int, topic string) []int {
	var found []int
	for filter, owner := range numbered(filters, owners) {
		if matching.Match(filter, topic) {
			found = append(found, owner)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestSetFollowsTheSpecification(t *testing.T) {
	for _, tt := range matchTests {
		set := newSet(t, []string{tt.filter}, 1)
		assert.Equal(t, tt.want, len(set.AppendMatch(nil, tt.topic)) == 1, "filter %q, topic %q", tt.filter, tt.topic)
	}
}

func TestSetFindsEachOwnerOnce(t *testing.T) {
	filters := []string{"a/b", "a/+", "a/#", "#", "+/b", "a/b", "a/b/#", "b/#"}
	assert.Equal(t, []int{0}, newSet(t, filters, 1).AppendMatch(nil, "a/b"))
	found := newSet(t, filters, 100).AppendMatch([]int{-1}, "a/b")
	assert.Equal(t, -1, found[0], "what was in dst stays")
	assert.ElementsMatch(t, []int{0, 1, 2, 3, 4, 5, 6}, found[1:])
}

func TestEmptySetMatchesNothing(t *testing.T) {
	var zero matching.Set[string]
	assert.Empty(t, zero.AppendMatch(nil, "a"))
	assert.Empty(t, newSet(t, nil, 1).AppendMatch(nil, "a"))
}

func TestNewSetNamesTheBadFilterAndItsOwner(t *testing.T) {
	_, err := matching.NewSet(numbered([]string{"a", "b", "c#"}, 3))
	assert.ErrorContains(t, err, `owner 2: filter "c#": level 1`)
}

func TestSetEqualsBruteForceOnAMillionPairs(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	var got []int
	hits := 0
	for range 100 {
		filters := make([]string, 200)
		for i := range filters {
			filters[i] = randomFilter(rng)
		}
		owners := 1 + rng.IntN(200)
		set := newSet(t, filters, owners)
		for range 50 {
			topic := randomTopic(rng)
			got = set.AppendMatch(got[:0], topic)
			slices.Sort(got)
			if want := bruteForce(filters, owners, topic); !slices.Equal(want, got) {
				t.Fatalf("topic %q, filters %q: got %v, want %v", topic, filters, got, want)
			}
			hits += len(got)
		}
	}
	assert.Greater(t, hits, 10_000, "the pairs must not be all misses")
}

func TestSetTakesConcurrentLookups(t *testing.T) {
	set := newSet(t, []string{"a/+", "a/#", "+/b", "c"}, 3)
	var lookups sync.WaitGroup
	for range 8 {
		lookups.Go(func() {
			var got []int
			for range 1000 {
				got = set.AppendMatch(got[:0], "a/b")
				slices.Sort(got)
				assert.Equal(t, []int{0, 1, 2}, got)
				assert.Empty(t, set.AppendMatch(nil, "d"))
			}
		})
	}
	lookups.Wait()
}

func TestSetTakesTheDeepestFilter(t *testing.T) {
	deep := strings.Repeat("/", matching.MaxLength)
	plus := strings.Repeat("+/", matching.MaxLength/2) + "#"
	set := newSet(t, []string{deep, plus}, 2)
	assert.ElementsMatch(t, []int{0, 1}, set.AppendMatch(nil, deep))
	assert.Equal(t, []string{plus}, matching.Cover([]string{deep, plus}))
}

func FuzzSetEqualsBruteForce(f *testing.F) {
	f.Add("a/+/c\na/b/#\n#\n+", "a/b/c", uint8(2))
	f.Add("$SYS/#\n#\n+/+", "$SYS/load", uint8(1))
	f.Add("/\n//\n/#\n+/", "//", uint8(9))
	f.Add("a\na/#\n+/#", "a", uint8(0))
	f.Fuzz(func(t *testing.T, lines, topic string, owners uint8) {
		if matching.ValidateTopic(topic) != nil {
			return
		}
		filters := validFilters(lines)
		got := newSet(t, filters, int(owners)+1).AppendMatch(nil, topic)
		slices.Sort(got)
		assert.Equal(t, bruteForce(filters, int(owners)+1, topic), got, "topic %q, filters %q", topic, filters)
	})
}

//go:build !race

package matching_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The race detector makes sync.Pool forget at random, so this holds only without it.
func TestSetLookupDoesNotAllocate(t *testing.T) {
	set := newSet(t, []string{"a/+/c", "a/b/#", "#", "+/+/+", "x"}, 5)
	found := make([]int, 0, 8)
	assert.Zero(t, testing.AllocsPerRun(100, func() { found = set.AppendMatch(found[:0], "a/b/c") }))
	assert.Len(t, found, 4)
}

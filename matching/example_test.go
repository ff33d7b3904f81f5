package matching_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weft-relay/weft/matching"
)

func ExampleMatch() {
	fmt.Println(matching.Match("kitchen/+", "kitchen/door"))
	fmt.Println(matching.Match("kitchen/#", "kitchen"))
	fmt.Println(matching.Match("#", "$SYS/uptime"))
	// Output:
	// true
	// true
	// false
}

func ExampleValidateFilter() {
	fmt.Println(matching.ValidateFilter("fridges/+/door"))
	fmt.Println(matching.ValidateFilter("fridges/door#"))
	// Output:
	// <nil>
	// filter "fridges/door#": level 2 is "door#", but "+" and "#" must be a level by themselves, as in "a/+/c" and "a/#"
}

func ExampleValidateInterest() {
	fmt.Println(matching.ValidateInterest("$share/workers/jobs/#"))
	// Output:
	// filter "$share/workers/jobs/#": a shared subscription hands each message to one of its members only, so it cannot say what a site wants: write the filter alone, without "$share/NAME/"
}

func ExampleCovers() {
	fmt.Println(matching.Covers("a/#", "a/+/c"), matching.Covers("a/+", "a/#"), matching.Covers("#", "$SYS/#"))
	// Output: true false false
}

func ExampleOverlaps() {
	fmt.Println(matching.Overlaps("a/+", "+/b"), matching.Overlaps("a/+", "b/+"))
	// Output: true false
}

func ExampleCover() {
	fmt.Println(matching.Cover([]string{"doors/front", "doors/#", "a/+/c", "a/b/#"}))
	// Output: [a/+/# doors/#]
}

func ExampleSet() {
	set, err := matching.NewSet(maps.All(map[string]string{
		"fridges/#":     "alice",
		"fridges/+/log": "bob",
		"doors/#":       "carol",
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	owners := set.AppendMatch(nil, "fridges/7/log")
	slices.Sort(owners)
	fmt.Println(owners)
	// Output: [alice bob]
}

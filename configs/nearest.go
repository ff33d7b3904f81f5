package configs

import (
	"fmt"
	"slices"
	"strings"
)

// suggest says which of the known words was probably meant, or else what they are.
func suggest(word string, known []string) string {
	known = slices.DeleteFunc(slices.Clone(known), func(name string) bool { return name == "" }) // whose own name is missing
	if near := nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) == 0 {
		return "there are none here"
	}
	known = slices.Compact(slices.Sorted(slices.Values(known)))
	return "known here: " + strings.Join(known, ", ")
}

// nearest returns the known word with the least edit distance from word, "" when none is near.
func nearest(word string, known []string) string {
	const longest = 64 // what is longer is no typing error, and the distance costs its square
	if len(word) > longest {
		return ""
	}
	best, least := "", 1+max(1, len(word)/3)
	for _, candidate := range slices.Sorted(slices.Values(known)) {
		if d := distance(word, candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete, replace, or swap with the next one, to make b of a (optimal string
// alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

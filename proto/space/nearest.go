package space

import (
	"slices"
	"strings"
)

// Nearest returns the known name closest to a misspelt one, "" when none is
// close: at most a third of its letters, and at least one, may differ, or it
// is the beginning of just one. Distance is optimal string alignment (a swap of
// neighbours counts one); ties go to the name that sorts first.
func Nearest(name string, known []string) string {
	best, limit := "", max(1, len(name)/3)
	for _, candidate := range slices.Sorted(slices.Values(known)) {
		if d := distance(name, candidate, limit); d <= limit && (best == "" || d < limit) {
			best, limit = candidate, d
		}
	}
	if best == "" && len(name) >= shortestStart {
		starts := slices.DeleteFunc(slices.Clone(known), func(candidate string) bool { return !strings.HasPrefix(candidate, name) })
		if len(starts) == 1 {
			best = starts[0]
		}
	}
	return best
}

// shortestStart is how many letters of a name say which one is meant.
const shortestStart = 3

// distance is the optimal string alignment distance, or limit+1 when larger.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	older, old, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range old {
		old[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(old[j]+1, row[j-1]+1, old[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
		older, old, row = old, row, older
	}
	return old[len(b)]
}

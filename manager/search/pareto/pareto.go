// Package pareto compares points by several objectives at once, all of them
// smaller is better.
package pareto

import (
	"math"
	"slices"
)

// Dominates says whether a is nowhere worse than b and somewhere better.
func Dominates(a, b []float64) bool {
	better := false
	for i := range a {
		if a[i] > b[i] {
			return false
		}
		better = better || a[i] < b[i]
	}
	return better
}

// Front returns the positions of the points that no other dominates, in order.
// Equal points are all kept.
func Front(points [][]float64) []int {
	order := make([]int, len(points))
	for i := range order {
		order[i] = i
	}
	// In this order only a point before another can dominate it, and one that
	// is dominated at all is so by a member of the front.
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(points[a], points[b]) })
	var out []int
	for _, i := range order {
		if !slices.ContainsFunc(out, func(k int) bool { return Dominates(points[k], points[i]) }) {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return out
}

// Ranks gives every point the number of its front: 0 for those nothing
// dominates, 1 for those only front 0 dominates, and so on (Deb et al., "A fast
// and elitist multiobjective genetic algorithm: NSGA-II", 2002).
func Ranks(points [][]float64) []int {
	n := len(points)
	ranks, above, below := make([]int, n), make([]int, n), make([][]int, n)
	for i := range n {
		for j := range i {
			switch {
			case Dominates(points[i], points[j]):
				below[i], above[j] = append(below[i], j), above[j]+1
			case Dominates(points[j], points[i]):
				below[j], above[i] = append(below[j], i), above[i]+1
			}
		}
	}
	var front []int
	for i := range n {
		if above[i] == 0 {
			front = append(front, i)
		}
	}
	for rank := 0; len(front) > 0; rank++ {
		var next []int
		for _, i := range front {
			ranks[i] = rank
			for _, j := range below[i] {
				if above[j]--; above[j] == 0 {
					next = append(next, j)
				}
			}
		}
		front = next
	}
	return ranks
}

// Crowding gives each point of one front the size of the gap around it, scaled
// by the front's extent; the ends are infinitely far from others (NSGA-II).
func Crowding(points [][]float64) []float64 {
	out := make([]float64, len(points))
	if len(points) == 0 {
		return out
	}
	order := make([]int, len(points))
	for i := range order {
		order[i] = i
	}
	for k := range points[0] {
		slices.SortStableFunc(order, func(a, b int) int { return compare(points[a][k], points[b][k]) })
		first, last := order[0], order[len(order)-1]
		out[first], out[last] = math.Inf(1), math.Inf(1)
		extent := points[last][k] - points[first][k]
		if extent == 0 {
			continue
		}
		for i := 1; i+1 < len(order); i++ {
			out[order[i]] += (points[order[i+1]][k] - points[order[i-1]][k]) / extent
		}
	}
	return out
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Order sorts positions from best to worst: by the number of the front, then
// by crowding, then as given.
func Order(points [][]float64) []int {
	order := make([]int, len(points))
	for i := range order {
		order[i] = i
	}
	if len(points) == 0 {
		return order
	}
	if len(points[0]) == 1 {
		slices.SortStableFunc(order, func(a, b int) int { return compare(points[a][0], points[b][0]) })
		return order
	}
	ranks := Ranks(points)
	crowding := make([]float64, len(points))
	for rank := 0; ; rank++ {
		var members []int
		var front [][]float64
		for i, r := range ranks {
			if r == rank {
				members, front = append(members, i), append(front, points[i])
			}
		}
		if len(members) == 0 {
			break
		}
		for k, c := range Crowding(front) {
			crowding[members[k]] = c
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if ranks[a] != ranks[b] {
			return ranks[a] - ranks[b]
		}
		return compare(crowding[b], crowding[a])
	})
	return order
}

// Hypervolume is the volume that the points dominate below a reference point,
// by slicing along the last objective. It is exact; its cost grows with the
// number of points to the power of the number of objectives less one, and for
// two objectives no faster than sorting.
func Hypervolume(points [][]float64, reference []float64) float64 {
	var inside [][]float64
	for _, p := range points {
		if Dominates(p, reference) && !slices.ContainsFunc(p, math.IsNaN) {
			inside = append(inside, p)
		}
	}
	return volume(inside, reference)
}

func volume(points [][]float64, reference []float64) float64 {
	d := len(reference)
	if len(points) == 0 {
		return 0
	}
	if d == 1 {
		best := points[0][0]
		for _, p := range points {
			best = min(best, p[0])
		}
		return max(reference[0]-best, 0)
	}
	if d == 2 {
		return area(points, reference)
	}
	points = slices.Clone(points)
	slices.SortStableFunc(points, func(a, b []float64) int { return compare(a[d-1], b[d-1]) })
	total := 0.0
	for i := range points {
		upper := reference[d-1]
		if i+1 < len(points) {
			upper = min(upper, points[i+1][d-1])
		}
		if height := upper - points[i][d-1]; height > 0 {
			slice := make([][]float64, i+1)
			for k := range slice {
				slice[k] = points[k][:d-1]
			}
			total += height * volume(slice, reference[:d-1])
		}
	}
	return total
}

// area is the volume of two objectives: one sweep in the order of the second.
func area(points [][]float64, reference []float64) float64 {
	points = slices.Clone(points)
	slices.SortStableFunc(points, func(a, b []float64) int { return compare(a[1], b[1]) })
	total, left := 0.0, reference[0]
	for _, p := range points {
		if p[0] < left && p[1] < reference[1] {
			total += (left - p[0]) * (reference[1] - p[1])
			left = p[0]
		}
	}
	return total
}

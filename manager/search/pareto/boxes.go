package pareto

import (
	"math"
	"slices"
)

// A Box is the product of the intervals from Lower to Upper; a lower end may be
// -Inf.
type Box struct{ Lower, Upper []float64 }

// Boxes cuts what lies below the reference and is not dominated by any of the
// points into boxes that do not overlap, by slicing along the last objective.
// Two objectives need one box more than there are points, three about half the
// square of the points, four a sixth of the cube.
func Boxes(points [][]float64, reference []float64) []Box {
	inside := make([][]float64, 0, len(points))
	for _, p := range points {
		if Dominates(p, reference) && !slices.ContainsFunc(p, math.IsNaN) {
			inside = append(inside, p)
		}
	}
	return boxes(inside, reference)
}

func boxes(points [][]float64, reference []float64) []Box {
	last := len(reference) - 1
	if last == 0 {
		upper := reference[0]
		for _, p := range points {
			upper = min(upper, p[0])
		}
		return []Box{{[]float64{math.Inf(-1)}, []float64{upper}}}
	}
	points = slices.Clone(points)
	slices.SortStableFunc(points, func(a, b []float64) int { return compare(a[last], b[last]) })
	var out []Box
	var below [][]float64 // what dominates in the slice, without its last objective
	lower := math.Inf(-1)
	for i := 0; ; i++ {
		upper := reference[last]
		if i < len(points) {
			upper = min(upper, points[i][last])
		}
		if upper > lower {
			for _, b := range boxes(below, reference[:last]) {
				out = append(out, Box{append(b.Lower, lower), append(b.Upper, upper)})
			}
		}
		if i == len(points) {
			return out
		}
		lower = upper
		p := points[i][:last]
		if !slices.ContainsFunc(below, func(q []float64) bool { return covers(q, p) }) {
			below = append(slices.DeleteFunc(below, func(q []float64) bool { return covers(p, q) }), p)
		}
	}
}

// covers says whether a is nowhere worse than b.
func covers(a, b []float64) bool {
	for i := range a {
		if a[i] > b[i] {
			return false
		}
	}
	return true
}

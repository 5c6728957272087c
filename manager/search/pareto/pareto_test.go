package pareto_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/manager/search/pareto"
)

func TestRanksPeelFronts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.IntRange(1, 3).Draw(t, "objectives")
		n := rapid.IntRange(0, 20).Draw(t, "points")
		points := make([][]float64, n)
		for i := range points {
			for range d {
				points[i] = append(points[i], float64(rapid.IntRange(0, 5).Draw(t, "value")))
			}
		}
		ranks := pareto.Ranks(points)
		left := make([]int, n)
		for i := range left {
			left[i] = i
		}
		for rank := 0; len(left) > 0; rank++ {
			rest := make([][]float64, len(left))
			for k, i := range left {
				rest[k] = points[i]
			}
			var keep []int
			front := pareto.Front(rest)
			for k, i := range left {
				if got := ranks[i] == rank; got != slices.Contains(front, k) {
					t.Fatalf("point %d has rank %d in front %d", i, ranks[i], rank)
				}
				if ranks[i] != rank {
					keep = append(keep, i)
				}
			}
			left = keep
		}
	})
}

func TestHypervolumeMatchesCounting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for d := 1; d <= 4; d++ {
		points := make([][]float64, 6)
		for i := range points {
			for range d {
				points[i] = append(points[i], float64(rng.IntN(6)))
			}
		}
		reference := slices.Repeat([]float64{5}, d)
		// Count the unit cells that some point dominates.
		cells := 0
		for c := range int(math.Pow(5, float64(d))) {
			corner := make([]float64, d)
			for k := range corner {
				corner[k] = float64(c % 5)
				c /= 5
			}
			if slices.ContainsFunc(points, func(p []float64) bool { return covers(p, corner) }) {
				cells++
			}
		}
		if got := pareto.Hypervolume(points, reference); got != float64(cells) {
			t.Errorf("%d objectives: %v, want %d", d, got, cells)
		}
	}
}

func covers(p, corner []float64) bool {
	for k := range p {
		if p[k] > corner[k] {
			return false
		}
	}
	return true
}

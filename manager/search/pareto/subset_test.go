package pareto_test

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat/combin"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/manager/search/pareto"
)

// TestSubsetAddsMostEachTime compares with asking every point at every step,
// and the volume with that of the best choice.
func TestSubsetAddsMostEachTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.IntRange(1, 4).Draw(t, "objectives")
		points := rapid.SliceOfN(rapid.SliceOfN(rapid.Float64Range(0, 6), d, d), 1, 9).Draw(t, "points")
		n := rapid.IntRange(1, len(points)).Draw(t, "n")
		reference := make([]float64, d)
		for k := range reference {
			reference[k] = 5
		}
		volume := func(at []int) float64 {
			var some [][]float64
			for _, i := range at {
				some = append(some, points[i])
			}
			return pareto.Hypervolume(some, reference)
		}
		got := pareto.Subset(points, reference, n)
		if len(got) != n {
			t.Fatalf("%d points, want %d", len(got), n)
		}
		const tiny = 1e-9
		for k := range got {
			before := volume(got[:k])
			for i := range points {
				if more := volume(append(got[:k:k], i)); more > volume(got[:k+1])+tiny {
					t.Fatalf("at %d point %d adds %v, the chosen one %v", k, i, more-before, volume(got[:k+1])-before)
				}
			}
		}
		best := 0.0
		for _, at := range combin.Combinations(len(points), n) {
			best = max(best, volume(at))
		}
		if volume(got) < (1-1/math.E)*best-tiny {
			t.Fatalf("%v of %v", volume(got), best)
		}
		seen := map[int]bool{}
		for _, i := range got {
			if seen[i] {
				t.Fatalf("%d twice", i)
			}
			seen[i] = true
		}
	})
}

func TestSubsetOfNothing(t *testing.T) {
	if got := pareto.Subset(nil, []float64{1, 1}, 3); len(got) != 0 {
		t.Fatal(got)
	}
	if got := pareto.Subset([][]float64{{0, 0}}, []float64{1, 1}, 3); len(got) != 1 {
		t.Fatal(got)
	}
}

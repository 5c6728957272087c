package pareto_test

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/floats/scalar"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/manager/search/pareto"
)

// TestBoxesFillWhatNothingDominates cuts the boxes off at a corner and compares
// their volume with what the points leave of the whole.
func TestBoxesFillWhatNothingDominates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.IntRange(1, 4).Draw(t, "objectives")
		var points [][]float64
		for range rapid.IntRange(0, 8).Draw(t, "points") {
			p := make([]float64, d)
			for k := range p {
				p[k] = float64(rapid.IntRange(0, 6).Draw(t, "value"))
			}
			points = append(points, p)
		}
		reference := make([]float64, d)
		for k := range reference {
			reference[k] = 5
		}
		boxes := pareto.Boxes(points, reference)
		const corner = -1.0
		total := 0.0
		for i, b := range boxes {
			volume := 1.0
			for k := range d {
				volume *= b.Upper[k] - max(b.Lower[k], corner)
			}
			total += volume
			for _, other := range boxes[:i] {
				apart := false
				for k := range d {
					apart = apart || b.Upper[k] <= other.Lower[k] || other.Upper[k] <= b.Lower[k]
				}
				if !apart {
					t.Fatalf("%v and %v overlap", b, other)
				}
			}
		}
		want := math.Pow(5-corner, float64(d)) - pareto.Hypervolume(points, reference)
		if !scalar.EqualWithinAbs(total, want, 1e-9) {
			t.Fatalf("the boxes hold %v, want %v", total, want)
		}
	})
}

package gp

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/floats/scalar"

	"github.com/fleetune/fleetune/manager/search/pareto"
)

// TestVolumeMatchesSampling compares the expected growth of the hypervolume
// with its mean over many draws.
func TestVolumeMatchesSampling(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for d := 2; d <= mostVolume; d++ {
		t.Run(fmt.Sprint(d, " objectives"), func(t *testing.T) {
			points := make([][]float64, 7)
			for i := range points {
				for range d {
					points[i] = append(points[i], rng.NormFloat64())
				}
			}
			v := newVolume(points, 1000)
			means, deviations := make([]float64, d), make([]float64, d)
			for k := range d {
				means[k], deviations[k] = v.reference[k]-0.8, 0.3+rng.Float64()
			}
			before := pareto.Hypervolume(v.front, v.reference)
			const draws = 100_000
			sum := 0.0
			for range draws {
				y := make([]float64, d)
				for k := range y {
					y[k] = means[k] + deviations[k]*rng.NormFloat64()
				}
				sum += pareto.Hypervolume(append(v.front[:len(v.front):len(v.front)], y), v.reference) - before
			}
			if got, want := math.Exp(v.expect(means, deviations)), sum/draws; !scalar.EqualWithinRel(got, want, 0.03) {
				t.Errorf("the expected growth is %v, its mean over draws %v", got, want)
			}
		})
	}
}

// TestVolumeFarAway asks about points so hopeless that no term fits a float: the
// order of their chances must stay.
func TestVolumeFarAway(t *testing.T) {
	v := newVolume([][]float64{{0, 1}, {0.5, 0.5}, {1, 0}}, 1000)
	last := math.Inf(1)
	for away := 2.0; away < 60; away++ {
		got := v.expect([]float64{away, away}, []float64{0.05, 0.05})
		if math.IsNaN(got) || math.IsInf(got, 0) || got >= last {
			t.Fatalf("log growth %v at %v, %v nearer by", got, away, last)
		}
		last = got
	}
	near := v.expect([]float64{2, 2}, []float64{0.05, 0.05})
	if far := v.far(); !scalar.EqualWithinAbs(near, far, 1) {
		t.Errorf("%v by the sum, %v by its largest term", near, far)
	}
}

func TestLargeFrontsAreThinned(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	points := make([][]float64, 400)
	for i := range points { // on a sphere, so that none dominates another
		length := 0.0
		for range 3 {
			c := math.Abs(rng.NormFloat64())
			points[i], length = append(points[i], c), length+c*c
		}
		for k := range points[i] {
			points[i][k] = -points[i][k] / math.Sqrt(length)
		}
	}
	v := newVolume(points, 20_000)
	if len(v.front) != 400 || len(v.upper[0]) > boxWork/20_000 {
		t.Errorf("%d points on the front, %d boxes", len(v.front), len(v.upper[0]))
	}
}

// TestFeasibleFirst gives points with good values that miss a constraint: they
// are no incumbents.
func TestFeasibleFirst(t *testing.T) {
	var r round
	goals := []*belief{{lesson: lesson{all: []float64{-2, -1, 0.5}, feasible: []bool{false, true, true}}}}
	if got := r.improvement(goals); got != incumbent(-1) {
		t.Errorf("the incumbent is %v", got)
	}
	goals[0].lesson.feasible = []bool{false, false, false}
	if got := r.improvement(goals); got != (feasibility{}) {
		t.Errorf("without a feasible point %v is maximized", got)
	}
}

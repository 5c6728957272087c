package search_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/search/pareto"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// A front is a test problem with a known Pareto front: all parameters between 0
// and 1, all objectives to be minimized.
type front struct {
	name       string
	parameters int
	objectives int
	f          func(x []float64) []float64
	reference  float64
	// volume of the whole front below the reference.
	volume float64
}

// zdt is a problem of Zitzler, Deb and Thiele, "Comparison of multiobjective
// evolutionary algorithms: empirical results", 2000; shape is its front.
func zdt(shape func(f1, share float64) float64) func([]float64) []float64 {
	return func(x []float64) []float64 {
		g := 1.0
		for _, v := range x[1:] {
			g += 9 * v / float64(len(x)-1)
		}
		return []float64{x[0], g * shape(x[0], x[0]/g)}
	}
}

// dtlz2 is by Deb, Thiele, Laumanns and Zitzler, "Scalable test problems for
// evolutionary multiobjective optimization", 2005; its front is a sphere.
func dtlz2(objectives int) func([]float64) []float64 {
	return func(x []float64) []float64 {
		g := 0.0
		for _, v := range x[objectives-1:] {
			g += (v - 0.5) * (v - 0.5)
		}
		out := make([]float64, objectives)
		for k := range out {
			out[k] = 1 + g
			for _, v := range x[:objectives-1-k] {
				out[k] *= math.Cos(v * math.Pi / 2)
			}
			if k > 0 {
				out[k] *= math.Sin(x[objectives-1-k] * math.Pi / 2)
			}
		}
		return out
	}
}

// fronts are small problems. The volumes below (11, 11) are 121 less the area
// under the front, 1/3, 2/3 and, for ZDT3, that of its five pieces with the
// steps between; below 1.1 cubed it is 1.331 less an eighth of a sphere.
func fronts() []front {
	return []front{
		{"zdt1", 6, 2, zdt(func(_, s float64) float64 { return 1 - math.Sqrt(s) }), 11, 120 + 2.0/3},
		{"zdt2", 6, 2, zdt(func(_, s float64) float64 { return 1 - s*s }), 11, 120 + 1.0/3},
		{"zdt3", 6, 2, zdt(func(f, s float64) float64 { return 1 - math.Sqrt(s) - s*math.Sin(10*math.Pi*f) }), 11, 128.77811613},
		{"dtlz2", 6, 3, dtlz2(3), 1.1, 1.331 - math.Pi/6},
	}
}

// missing is the share of a front's volume that a strategy has not found.
func missing(t *testing.T, f front, strategy string, seed int64, budget, batch int) float64 {
	t.Helper()
	var s space.Space
	for k := range f.parameters {
		s.Parameters = append(s.Parameters, space.Parameter{Name: fmt.Sprint("x", k), Type: space.Continuous, High: 1})
	}
	p := search.Problem{Space: s, Seed: seed, Budget: budget}
	reference := make([]float64, f.objectives)
	for k := range f.objectives {
		reference[k] = f.reference
		p.Objectives = append(p.Objectives, task.Objective{Metric: fmt.Sprint("f", k), Direction: task.Minimize})
	}
	sampler := create(t, strategy, p)
	var obs []search.Observation
	var losses [][]float64
	for len(obs) < budget {
		points, err := sampler.Propose(context.Background(), obs, nil, batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, point := range points {
			x := make([]float64, f.parameters)
			for k := range x {
				x[k] = point[fmt.Sprint("x", k)].(float64)
			}
			y := f.f(x)
			losses = append(losses, y)
			obs = append(obs, search.Observation{Number: len(obs) + 1, Point: point, Values: y, Outcome: experiment.OutcomeSuccess})
		}
	}
	return 1 - pareto.Hypervolume(losses, reference)/f.volume
}

// TestFrontsAreFound compares what is missing of known fronts after a hundred
// points with what uniform draws miss.
func TestFrontsAreFound(t *testing.T) {
	seeds := int64(1)
	if os.Getenv("FLEETUNE_TUNING") != "" {
		seeds = 10
	}
	mean := func(f front, strategy string) float64 {
		sum := 0.0
		for seed := range seeds {
			sum += missing(t, f, strategy, seed, 100, 4) / float64(seeds)
		}
		return sum
	}
	for _, f := range fronts() {
		random := mean(f, "random")
		for strategy, most := range map[string]float64{"bayesian": 0.6, "gp": 0.6, "tpe": 0.9, "nsga2": 0.95, "nsga3": 1} {
			got := mean(f, strategy)
			t.Logf("%s: %s misses %.4f, random %.4f", f.name, strategy, got, random)
			if got > most*random {
				t.Errorf("%s misses %.4f of the front of %s, random draws %.4f", strategy, got, f.name, random)
			}
		}
	}
}

package search_test

import (
	"context"
	"math"
	"testing"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// TestExpectedImprovementShrinks searches a smooth valley: what is expected is
// much at first and next to nothing once the bottom is measured, in the same
// parts whether a time falls or a rate rises.
func TestExpectedImprovementShrinks(t *testing.T) {
	for _, strategy := range []string{"gp", "bayesian"} {
		for _, direction := range []task.Direction{task.Minimize, task.Maximize} {
			p := search.Problem{Seed: 1, Objectives: []task.Objective{{Metric: "m", Direction: direction}}, Space: space.Space{Parameters: []space.Parameter{
				{Name: "a", Type: space.Integer, Low: 0, High: 40}, {Name: "b", Type: space.Integer, Low: 0, High: 40},
			}}}
			s := create(t, strategy, p)
			var obs []search.Observation
			var expected []float64
			for len(obs) < 40 {
				points, err := s.Propose(context.Background(), obs, nil, 1)
				if err != nil {
					t.Fatal(err)
				}
				a, b := float64(points[0]["a"].(int64)), float64(points[0]["b"].(int64))
				value := math.Exp(((a-23)*(a-23) + (b-11)*(b-11)) / 400)
				if direction == task.Maximize {
					value = 1 / value
				}
				obs = append(obs, search.Observation{Number: len(obs) + 1, Point: points[0], Values: []float64{value}, Outcome: experiment.OutcomeSuccess})
				part, known, err := search.ExpectedImprovement(context.Background(), s, obs, nil)
				if err != nil {
					t.Fatal(err)
				}
				again, _, err := search.ExpectedImprovement(context.Background(), create(t, strategy, p), obs, nil)
				if err != nil || again != part {
					t.Fatalf("a fresh sampler expects %v, %v, not %v", again, err, part)
				}
				if known {
					expected = append(expected, part)
				}
			}
			first, last := expected[0], expected[len(expected)-1]
			t.Logf("%s, %s: %.3g expected at first, %.3g at last", strategy, direction, first, last)
			if first < 0.01 || last > 1e-4 || last < 0 {
				t.Errorf("%s, %s: %g expected at first, %g at last", strategy, direction, first, last)
			}
		}
	}
	if _, known, err := search.ExpectedImprovement(context.Background(), create(t, "random", problem(kernel(), 1)), nil, nil); known || err != nil {
		t.Errorf("random draws expect something: %v", err)
	}
}

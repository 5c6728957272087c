package sampler_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/manager/search/pareto"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// TestOrderIsConstraintDomination checks every pair: what meets the constraints
// stands before what misses them, of two that miss them the one that misses by
// less, and nothing stands before what dominates it.
func TestOrderIsConstraintDomination(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.IntRange(1, 3).Draw(t, "objectives")
		trials := make([]sampler.Trial, rapid.IntRange(0, 15).Draw(t, "trials"))
		for i := range trials {
			trials[i] = sampler.Trial{Number: i + 1, Violation: rapid.SampledFrom([]float64{0, 0, 1, 2, math.Inf(1)}).Draw(t, "violation")}
			for range d {
				trials[i].Losses = append(trials[i].Losses, float64(rapid.IntRange(0, 4).Draw(t, "loss")))
			}
		}
		order := sampler.Order(trials)
		if len(order) != len(trials) {
			t.Fatalf("%d positions of %d trials", len(order), len(trials))
		}
		for k, i := range order {
			for _, j := range order[k+1:] {
				a, b := trials[i], trials[j]
				if b.Violation < a.Violation || a.Violation == 0 && b.Violation == 0 && pareto.Dominates(b.Losses, a.Losses) {
					t.Fatalf("%+v stands before %+v", a, b)
				}
			}
		}
	})
}

func TestConstraintsOfTrials(t *testing.T) {
	p := sampler.Problem{
		Space:       space.Space{Parameters: []space.Parameter{{Name: "a", Type: space.Integer, Low: 1, High: 9}}},
		Objectives:  []task.Objective{{Metric: "time", Direction: task.Minimize}},
		Constraints: []string{"latency", "memory"},
	}
	set, err := valid.Of(p.Space)
	if err != nil {
		t.Fatal(err)
	}
	past := sampler.NewPast(set, &p)
	none := math.NaN()
	history := []sampler.Observation{
		{Values: []float64{1}, Constraints: []float64{-0.5, 0}, Outcome: experiment.OutcomeSuccess},
		{Values: []float64{1}, Constraints: []float64{0.25, 0.5}, Outcome: experiment.OutcomeSuccess},
		{Values: []float64{1}, Constraints: []float64{none, -1}, Outcome: experiment.OutcomeSuccess},
		{Values: []float64{1}, Constraints: []float64{none, none}, Outcome: experiment.OutcomeSuccess},
		{Values: []float64{1}, Constraints: []float64{1}, Outcome: experiment.OutcomeSuccess},
		{Constraints: []float64{2, -1}, Outcome: experiment.OutcomeFailed},
		{Outcome: experiment.OutcomeOutOfMemory},
	}
	for i := range history {
		history[i].Number, history[i].Point = i+1, space.Point{"a": int64(i + 1)}
	}
	past.Read(history)
	for i, want := range []struct {
		violation  float64
		measured   bool
		infeasible bool
	}{{0, true, false}, {0.75, true, false}, {math.Inf(1), true, false}, {math.Inf(1), false, false}, {math.Inf(1), false, false}, {2, true, false}, {math.Inf(1), false, true}} {
		got := past.Trials()[i]
		if got.Violation != want.violation || (got.Constraints != nil) != want.measured || got.Infeasible != want.infeasible {
			t.Errorf("trial %d: %+v", i+1, got)
		}
	}
	epoch := past.Epoch()
	again := slices.Clone(history)
	past.Read(again)
	if past.Epoch() != epoch {
		t.Error("the same history, NaN and all, was taken for another one")
	}
	again[1].Constraints = []float64{0.25, 0.6}
	past.Read(again)
	if past.Epoch() == epoch {
		t.Error("another measurement of a constraint went unnoticed")
	}
}

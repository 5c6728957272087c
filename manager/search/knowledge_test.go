package search_test

import (
	"context"
	"math"
	"testing"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
)

// latency pulls against landscape: the fastest points of ten() are beyond its
// bound, and no more than one point in fifty meets it.
func latency(p space.Point) float64 {
	f := func(name string) float64 { return math.Log2(float64(p[name].(int64))) }
	return (3 + math.Abs(f("t0")-1) + math.Abs(f("t1")-4) + 0.5*float64(p["n2"].(int64)) + math.Abs(f("t2")-2)) / 6
}

// bestWithin runs a strategy under a measured constraint and returns the best
// value among the points that meet it, and how many did.
func bestWithin(t *testing.T, strategy string, seed int64, budget int) (low float64, within int) {
	t.Helper()
	p := problem(ten(), 1)
	p.Seed, p.Budget, p.Constraints = seed, budget, []string{"latency"}
	s := create(t, strategy, p)
	var obs []search.Observation
	low = math.Inf(1)
	for len(obs) < budget {
		points, err := s.Propose(context.Background(), obs, nil, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, point := range points {
			o := search.Observation{Number: len(obs) + 1, Point: point, Outcome: experiment.OutcomeFailed}
			if v, ok := landscape(point); ok {
				miss := latency(point) - 1
				o.Outcome, o.Values, o.Constraints = experiment.OutcomeSuccess, []float64{v}, []float64{miss}
				if miss <= 0 {
					low = min(low, v)
					within++
				}
			}
			obs = append(obs, o)
		}
	}
	return low, within
}

// learning lists the strategies that use failures and constraints.
func learning() []string {
	return []string{"bayesian", "gp", "tpe", "genetic", "nsga2", "nsga3", "cma_es", "local_search"}
}

// TestConstraintsAreLearned starts where hardly any point meets the constraint.
func TestConstraintsAreLearned(t *testing.T) {
	run := func(strategy string) (value, share float64) {
		for seed := range int64(3) {
			low, within := bestWithin(t, strategy, seed, 80)
			value += min(math.Log(low), math.Log(20)) / 3 // nothing found counts as 20
			share += float64(within) / 80 / 3
		}
		return math.Exp(value), share
	}
	value, share := run("random")
	t.Logf("random: %.3f, %.0f%% within", value, 100*share)
	if share > 0.1 {
		t.Fatal("the constraint is too easy to say anything")
	}
	for _, strategy := range learning() {
		v, s := run(strategy)
		t.Logf("%s: %.3f, %.0f%% within", strategy, v, 100*s)
		if v >= value || s < 2*share {
			t.Errorf("%s found %.3f and met the constraint in %.0f%%, random %.3f and %.0f%%", strategy, v, 100*s, value, 100*share)
		}
	}
}

// TestFailuresAreLearned runs where three quarters of the space fail and nothing
// else is to be known: the value is the same everywhere.
func TestFailuresAreLearned(t *testing.T) {
	works := func(p space.Point) bool { return p["t0"].(int64) >= 8 && p["n1"].(int64) <= 4 }
	share := func(strategy string) float64 {
		worked, total := 0, 0
		for seed := range int64(3) {
			p := problem(ten(), 1)
			p.Seed = seed
			s := create(t, strategy, p)
			var obs []search.Observation
			for len(obs) < 60 {
				points, err := s.Propose(context.Background(), obs, nil, 2)
				if err != nil {
					t.Fatal(err)
				}
				for _, point := range points {
					o := search.Observation{Number: len(obs) + 1, Point: point, Outcome: experiment.OutcomeOutOfMemory}
					if works(point) {
						o.Outcome, o.Values = experiment.OutcomeSuccess, []float64{10 - float64(point["n2"].(int64))}
					}
					if len(obs) >= 20 {
						total++
						if works(point) {
							worked++
						}
					}
					obs = append(obs, o)
				}
			}
		}
		return float64(worked) / float64(total)
	}
	random := share("random")
	for _, strategy := range learning() {
		got := share(strategy)
		t.Logf("%s: %.0f%% work, random %.0f%%", strategy, 100*got, 100*random)
		if got < 1.5*random {
			t.Errorf("of the points of %s %.0f%% work, of random ones %.0f%%", strategy, 100*got, 100*random)
		}
	}
}

// TestNothingWorksAtFirst has a history without a value: most of the space
// fails, in the rest workers are lost, which says nothing. The models go where
// nothing has failed yet.
func TestNothingWorksAtFirst(t *testing.T) {
	for _, strategy := range []string{"bayesian", "gp"} {
		p := problem(ten(), 1)
		s := create(t, strategy, p)
		var obs []search.Observation
		open := 0
		for len(obs) < 60 {
			points, err := s.Propose(context.Background(), obs, nil, 1)
			if err != nil {
				t.Fatal(err)
			}
			o := search.Observation{Number: len(obs) + 1, Point: points[0], Outcome: experiment.OutcomeOutOfMemory}
			if points[0]["n2"].(int64) > 6 {
				o.Outcome = experiment.OutcomeLost
				if len(obs) >= 20 {
					open++
				}
			}
			obs = append(obs, o)
		}
		t.Logf("%s: %d of 40 points are where nothing has failed", strategy, open)
		if open < 16 { // uniform draws have 10
			t.Errorf("%s proposed %d of 40 points where nothing has failed", strategy, open)
		}
	}
}

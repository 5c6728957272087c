package search_test

import (
	"context"
	"math"
	"os"
	"testing"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/manager/search/insight"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

// landscape is a made-up kernel time over ten(): parameters interact, one
// choice switches what is good for others, and a tenth of the points fail.
func landscape(p space.Point) (value float64, ok bool) {
	f := func(name string) float64 { return math.Log2(float64(p[name].(int64))) }
	if f("t0")+f("t4") > 8 && p["algo"] == "b" {
		return 0, false
	}
	time := 1 + math.Abs(f("t0")+f("t1")-7) + math.Abs(f("t2")-f("t3")-1) + 0.3*math.Abs(f("n0")*f("n1")-4) + 0.2*f("n2")
	switch p["algo"] {
	case "a":
		time *= 1 + 0.3*math.Abs(f("t4")-4)
	case "b":
		time *= 0.7 + 0.3*math.Abs(f("t4")-1)
	default:
		time *= 1.6
	}
	if p["fast"] == true {
		time *= 0.8 + 0.1*f("t3")
	}
	return time, true
}

// best runs a strategy and returns the best value found.
func best(t *testing.T, strategy string, seed int64, budget, batch int) float64 {
	t.Helper()
	p := problem(ten(), 1)
	p.Seed, p.Budget = seed, budget
	s := create(t, strategy, p)
	var obs []search.Observation
	low := math.Inf(1)
	for len(obs) < budget {
		points, err := s.Propose(context.Background(), obs, nil, batch)
		if err != nil {
			t.Fatal(err)
		}
		for _, point := range points {
			o := search.Observation{Number: len(obs) + 1, Point: point, Outcome: experiment.OutcomeFailed}
			if v, ok := landscape(point); ok {
				o.Outcome, o.Values = experiment.OutcomeSuccess, []float64{v}
				low = min(low, v)
			}
			obs = append(obs, o)
		}
	}
	return low
}

// TestAdaptiveStrategiesBeatRandom compares geometric means over seeds in a
// space far too large to look at every point.
func TestAdaptiveStrategiesBeatRandom(t *testing.T) {
	seeds := 3
	if os.Getenv("FLEETUNE_TUNING") != "" {
		seeds = 10
	}
	mean := func(strategy string, batch int) float64 {
		sum := 0.0
		for seed := range seeds {
			sum += math.Log(best(t, strategy, int64(seed), 80, batch)) / float64(seeds)
		}
		return math.Exp(sum)
	}
	random := mean("random", 8)
	for _, s := range search.Strategies() {
		if !s.Adaptive {
			continue
		}
		got := mean(s.Name, 4)
		t.Logf("%s: %.3f, random %.3f", s.Name, got, random)
		if got >= random {
			t.Errorf("%s found %.3f, random %.3f", s.Name, got, random)
		}
	}
}

// volume runs a strategy on two objectives that pull apart (time and memory)
// and returns the hypervolume found.
func volume(t *testing.T, strategy string, seed int64) float64 {
	t.Helper()
	p := problem(ten(), 1)
	p.Seed = seed
	p.Objectives = []task.Objective{{Metric: "time", Direction: task.Minimize}, {Metric: "free", Direction: task.Maximize}}
	s := create(t, strategy, p)
	var obs []search.Observation
	for len(obs) < 60 {
		points, err := s.Propose(context.Background(), obs, nil, 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, point := range points {
			o := search.Observation{Number: len(obs) + 1, Point: point, Outcome: experiment.OutcomeFailed}
			if v, ok := landscape(point); ok {
				used := math.Log2(float64(point["t0"].(int64)*point["t2"].(int64))) + float64(point["n2"].(int64))
				o.Outcome, o.Values = experiment.OutcomeSuccess, []float64{v, 20 - used}
			}
			obs = append(obs, o)
		}
	}
	steps := insight.Progress(p.Objectives, obs, []float64{10, 0}, 10).Steps
	return steps[len(steps)-1].Hypervolume
}

func TestSeveralObjectivesBeatRandom(t *testing.T) {
	mean := func(strategy string) float64 {
		sum := 0.0
		for seed := range int64(3) {
			sum += volume(t, strategy, seed) / 3
		}
		return sum
	}
	random := mean("random")
	for _, strategy := range []string{"bayesian", "gp", "tpe", "nsga2"} {
		got := mean(strategy)
		t.Logf("%s: %.1f, random %.1f", strategy, got, random)
		if got <= random {
			t.Errorf("%s dominates %.1f, random %.1f", strategy, got, random)
		}
	}
}

package insight_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fleetune/fleetune/manager/search/gp"
	"github.com/fleetune/fleetune/manager/search/insight"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
)

func problem() sampler.Problem {
	return sampler.Problem{
		Space: space.Space{Parameters: []space.Parameter{
			{Name: "strong", Type: space.Integer, Low: 1, High: 8},
			{Name: "weak", Type: space.Choice, Values: []any{"a", "b", "c"}},
			{Name: "idle", Type: space.Continuous, Low: 0, High: 1},
		}},
		Objectives: []task.Objective{{Metric: "rate", Direction: task.Maximize}},
	}
}

// measured draws a history of a rate that doubles with each step of strong and
// grows by a half from one weak value to the next.
func measured(t *testing.T, p sampler.Problem, n int) []sampler.Observation {
	t.Helper()
	set, err := valid.Of(p.Space)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var out []sampler.Observation
	for i := range n {
		v, _ := set.Sample(rng)
		rate := math.Pow(2, v[0]) * math.Pow(1.5, v[1])
		out = append(out, sampler.Observation{Number: i + 1, Point: set.Point(v), Values: []float64{rate}, Outcome: experiment.OutcomeSuccess})
	}
	return out
}

func TestEffectsFindWhatMatters(t *testing.T) {
	p := problem()
	effects, err := insight.Effects(p, measured(t, p, 60), 0)
	if err != nil {
		t.Fatal(err)
	}
	if effects[0].Parameter != "strong" || effects[1].Parameter != "weak" {
		t.Fatalf("order %v", effects)
	}
	// Variance of the logarithm: (8²-1)/12 ln²2 against (3²-1)/12 ln²1.5.
	want := 63 * math.Pow(math.Ln2, 2) / (63*math.Pow(math.Ln2, 2) + 8*math.Pow(math.Log(1.5), 2))
	if math.Abs(effects[0].Importance-want) > 0.02 || effects[2].Importance > 0.01 {
		t.Errorf("importances %.3f %.3f %.3f, want %.3f", effects[0].Importance, effects[1].Importance, effects[2].Importance, want)
	}
	levels := effects[0].Levels
	if len(levels) != 8 || levels[7].Value != int64(8) {
		t.Fatalf("levels %v", levels)
	}
	if ratio := levels[5].Mean / levels[4].Mean; math.Abs(ratio-2) > 0.1 {
		t.Errorf("one step multiplies the rate by %.3f, want 2", ratio)
	}
	total := 0
	for _, l := range levels {
		total += l.Measured
	}
	if total != 60 {
		t.Errorf("%d points counted, want 60", total)
	}
}

func TestEffectsNeedValues(t *testing.T) {
	p := problem()
	if _, err := insight.Effects(p, measured(t, p, 2), 0); !errors.Is(err, gp.ErrTooFew) {
		t.Error(err)
	}
}

func TestProgressAndFront(t *testing.T) {
	objectives := []task.Objective{{Metric: "time", Direction: task.Minimize}, {Metric: "rate", Direction: task.Maximize}}
	history := []sampler.Observation{
		{Number: 3, Values: []float64{1, 1}},
		{Number: 1, Values: []float64{3, 2}},
		{Number: 2},
		{Number: 4, Values: []float64{3, 1}},
		{Number: 5, Values: []float64{2, 4}},
	}
	steps := insight.Progress(objectives, history, []float64{4, 0})
	// Areas left of 4 and above 0: 1x2; then also 3x1 less what is shared.
	for i, want := range []struct{ best, volume float64 }{{3, 2}, {3, 2}, {1, 4}, {1, 4}, {1, 9}} {
		if *steps[i].Best != want.best || steps[i].Hypervolume != want.volume {
			t.Errorf("step %d: best %v, volume %v; want %v", i+1, *steps[i].Best, steps[i].Hypervolume, want)
		}
	}
	front := insight.Front(objectives, history)
	if len(front) != 2 || front[0].Number != 3 || front[1].Number != 5 {
		t.Errorf("front %v", front)
	}
}

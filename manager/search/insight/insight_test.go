package insight_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fleetune/fleetune/manager/search/gp"
	"github.com/fleetune/fleetune/manager/search/insight"
	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
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
	want := 63 * math.Ln2 * math.Ln2 / (63*math.Ln2*math.Ln2 + 8*math.Pow(math.Log(1.5), 2))
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

// A small space is predicted whole, and even a weak parameter gets its share:
// the indices of a product without interactions add up to one.
func TestEffectsOfASmallSpaceAreWhole(t *testing.T) {
	p := problem()
	p.Space.Parameters = []space.Parameter{
		{Name: "strong", Type: space.Choice, Values: []any{int64(1), int64(2), int64(3), int64(4)}},
		{Name: "weak", Type: space.Choice, Values: []any{int64(0), int64(1), int64(2)}},
	}
	var history []sampler.Observation
	for i := range 12 {
		strong, weak := i/3+1, i%3
		history = append(history, sampler.Observation{Number: i + 1, Outcome: experiment.OutcomeSuccess,
			Point:  space.Point{"strong": int64(strong), "weak": int64(weak)},
			Values: []float64{math.Pow(2, float64(strong)) * math.Pow(1.1, float64(weak))}})
	}
	effects, err := insight.Effects(p, history, 0)
	require.NoError(t, err)
	strong, weak := 15./12*math.Pow(math.Ln2, 2), 8./12*math.Pow(math.Log(1.1), 2)
	require.InDelta(t, strong/(strong+weak), effects[0].Importance, 0.003)
	require.InDelta(t, weak/(strong+weak), effects[1].Importance, 0.003)

	p.Space.Parameters = p.Space.Parameters[:1]
	effects, err = insight.Effects(p, history[:1:1], 0)
	require.ErrorIs(t, err, gp.ErrTooFew)
	require.Empty(t, effects)
	for i := range history {
		delete(history[i].Point, "weak")
	}
	effects, err = insight.Effects(p, history, 0)
	require.NoError(t, err)
	require.InDelta(t, 1, effects[0].Importance, 1e-9, "the only parameter explains everything")
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
	course := insight.Progress(objectives, history, []float64{4, 0}, 10)
	// Areas left of 4 and above 0: 1x2; then also 3x1 less what is shared.
	require.Equal(t, []insight.Step{
		{Number: 1, Best: 3, Regret: 2, Hypervolume: 2},
		{Number: 3, Best: 1, Regret: 0, Hypervolume: 4},
		{Number: 5, Best: 1, Regret: 0, Hypervolume: 9},
	}, course.Steps)
	require.Equal(t, []int{3, 5}, numbers(course.Front))
	require.Equal(t, []float64{4, 0}, course.Reference)
	require.Equal(t, []float64{3, 1}, insight.Progress(objectives, history, nil, 10).Reference, "the worst of each objective")
}

func numbers(list []sampler.Observation) []int {
	var out []int
	for _, o := range list {
		out = append(out, o.Number)
	}
	return out
}

// With one objective the steps are the incumbents and the last experiment,
// whatever the order of the history.
func TestProgressOfOneObjective(t *testing.T) {
	for direction, want := range map[task.Direction][]insight.Step{
		task.Minimize: {{Number: 1, Best: 5, Regret: 3}, {Number: 4, Best: 2}, {Number: 6, Best: 2}},
		task.Maximize: {{Number: 1, Best: 5, Regret: 4}, {Number: 2, Best: 7, Regret: 2}, {Number: 5, Best: 9}, {Number: 6, Best: 9}},
	} {
		history := []sampler.Observation{
			{Number: 6, Values: []float64{9}}, {Number: 1, Values: []float64{5}}, {Number: 3, Values: []float64{math.NaN()}},
			{Number: 2, Values: []float64{7}}, {Number: 5, Values: []float64{9}}, {Number: 4, Values: []float64{2}}, {Number: 7},
		}
		course := insight.Progress([]task.Objective{{Metric: "m", Direction: direction}}, history, nil, 10)
		require.Equal(t, want, course.Steps)
		require.Len(t, course.Front, 1)
		require.Nil(t, course.Reference)
	}
	require.Empty(t, insight.Progress(problem().Objectives, nil, nil, 10))
}

// A front that grows with every experiment still gives few steps, and no
// hypervolume where that would take too long.
func TestProgressIsBounded(t *testing.T) {
	var two, three []sampler.Observation
	for i := range 2000 {
		x := float64(i)
		two = append(two, sampler.Observation{Number: i + 1, Values: []float64{x, -x}})
		three = append(three, sampler.Observation{Number: i + 1, Values: []float64{x, -x, 0}})
	}
	least := func(n int) []task.Objective { return slices.Repeat([]task.Objective{{Direction: task.Minimize}}, n) }
	course := insight.Progress(least(2), two, nil, 50)
	require.Len(t, course.Steps, 49)
	require.Equal(t, []int{1, 2000}, []int{course.Steps[0].Number, course.Steps[48].Number})
	require.Equal(t, 2000, course.Changes)
	require.Len(t, course.Front, 2000)
	// Between the reference (1999, 0) and the steps of a staircase.
	require.InDelta(t, 1999*1998/2, course.Steps[48].Hypervolume, 1e-6)
	course = insight.Progress(least(3), three, nil, 50)
	require.Len(t, course.Steps, 49)
	require.Nil(t, course.Reference)
}

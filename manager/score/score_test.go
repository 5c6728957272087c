package score_test

import (
	"math"
	"slices"
	"testing"

	"github.com/fleetune/fleetune/manager/score"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestScoresAreTheMediansOfTheObjectives(t *testing.T) {
	m := &experiment.Measurement{Metrics: map[string]experiment.Metric{
		"time": {Median: 2}, "power": {Median: 90}, "odd": {Median: math.NaN()}, "huge": {Median: math.Inf(1)},
	}}
	for _, c := range []struct {
		metrics []string
		m       *experiment.Measurement
		want    []float64
	}{
		{[]string{"time"}, m, []float64{2}},
		{[]string{"power", "time"}, m, []float64{90, 2}},
		{[]string{"time", "absent"}, m, nil},
		{[]string{"odd"}, m, nil},
		{[]string{"time", "huge"}, m, nil},
		{[]string{"time"}, nil, nil},
	} {
		var objectives []task.Objective
		for _, name := range c.metrics {
			objectives = append(objectives, task.Objective{Metric: name})
		}
		got, ok := score.Scores(objectives, c.m)
		require.Equal(t, c.want, got, c.metrics)
		require.Equal(t, c.want != nil, ok, c.metrics)
	}
}

func TestBetter(t *testing.T) {
	require.True(t, score.Better(task.Minimize, 1, 2))
	require.False(t, score.Better(task.Minimize, 2, 1))
	require.True(t, score.Better(task.Maximize, 2, 1))
	require.False(t, score.Better(task.Maximize, 1, 2))
	for _, d := range []task.Direction{task.Minimize, task.Maximize} {
		require.False(t, score.Better(d, 1, 1), "equal numbers do not beat each other")
		require.False(t, score.Better(d, math.NaN(), 1))
		require.False(t, score.Better(d, 1, math.NaN()))
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3}, {[]float64{5, 1, 3}, 3}, {[]float64{4, 1, 3, 2}, 2.5}, {[]float64{-1, 1}, 0},
	} {
		given := slices.Clone(c.values)
		require.Equal(t, c.want, score.Median(c.values))
		require.Equal(t, given, c.values, "they stay as they are")
	}
	require.True(t, math.IsNaN(score.Median(nil)))
}

func TestCompare(t *testing.T) {
	fast, slow := []float64{9, 10, 10, 11, 10}, []float64{19, 20, 21, 20, 20}
	for _, c := range []struct {
		name                string
		direction           task.Direction
		candidate, baseline []float64
		ratio               float64
		significant, ok     bool
	}{
		{"twice as fast", task.Minimize, fast, slow, 2, true, true},
		{"half as fast", task.Minimize, slow, fast, 0.5, false, true},
		{"twice as much", task.Maximize, slow, fast, 2, true, true},
		{"the same", task.Minimize, fast, fast, 1, false, true},
		{"within the noise", task.Minimize, []float64{9, 12, 8, 11, 10}, []float64{10.5, 8.5, 12.5, 9.5, 11.5}, 1.05, false, true},
		{"too few samples", task.Minimize, []float64{1, 1}, slow, 20, false, true},
		{"too few of the baseline", task.Minimize, fast, []float64{20}, 2, false, true},
		{"no samples", task.Minimize, nil, slow, 0, false, false},
		{"no baseline", task.Minimize, fast, nil, 0, false, false},
		{"zero", task.Minimize, []float64{0, 0, 0}, slow, 0, false, false},
		{"negative", task.Minimize, []float64{-1, -1, -1}, slow, 0, false, false},
		{"not a number", task.Minimize, []float64{math.NaN()}, slow, 0, false, false},
		{"infinite", task.Maximize, []float64{math.Inf(1)}, slow, 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := score.Compare(c.direction, c.candidate, c.baseline)
			require.Equal(t, c.ok, ok)
			require.InDelta(t, c.ratio, got.Ratio, 1e-12)
			require.Equal(t, c.significant, got.Significant)
			require.LessOrEqual(t, got.Low, got.High)
			if ok {
				require.Equal(t, 0.95, got.Confidence)
			}
		})
	}
}

var samples = rapid.SliceOfN(rapid.Float64Range(0.5, 100), 1, 12)

// The same samples give the same interval, in this process and in any other.
func TestBootstrapIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := samples.Draw(t, "candidate"), samples.Draw(t, "baseline")
		one, _ := score.Compare(task.Minimize, a, b)
		two, _ := score.Compare(task.Minimize, slices.Clone(a), slices.Clone(b))
		require.Equal(t, one, two)
	})
	c, ok := score.Compare(task.Minimize, []float64{1, 2, 3, 4, 5}, []float64{2, 3, 4, 5, 6})
	require.True(t, ok)
	require.Equal(t, score.Comparison{Ratio: 4.0 / 3, Low: 0.6, High: 4, Confidence: 0.95}, c)
}

// A candidate that is the baseline made k times better has exactly that ratio,
// and a power of two leaves every digit of the interval.
func TestRatioOfScaledSamples(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		baseline := samples.Draw(t, "baseline")
		k := math.Pow(2, float64(rapid.IntRange(-5, 5).Draw(t, "power")))
		direction := rapid.SampledFrom([]task.Direction{task.Minimize, task.Maximize}).Draw(t, "direction")
		candidate := slices.Clone(baseline)
		for i := range candidate {
			if direction == task.Minimize {
				candidate[i] /= k
			} else {
				candidate[i] *= k
			}
		}
		got, ok := score.Compare(direction, candidate, baseline)
		require.True(t, ok)
		require.Equal(t, k, got.Ratio)
		same, _ := score.Compare(direction, baseline, baseline)
		require.InEpsilon(t, same.Low*k, got.Low, 1e-12)
		require.InEpsilon(t, same.High*k, got.High, 1e-12)
	})
}

// Less time is more speed: the direction changes nothing but the formula.
func TestDirectionsAreSymmetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOfN(rapid.Float64Range(0.5, 100), 3, 11).Draw(t, "a"), rapid.SliceOfN(rapid.Float64Range(0.5, 100), 3, 11).Draw(t, "b")
		less, ok := score.Compare(task.Minimize, a, b)
		require.True(t, ok)
		more, ok := score.Compare(task.Maximize, a, b)
		require.True(t, ok)
		require.InEpsilon(t, 1, less.Ratio*more.Ratio, 1e-12)
		require.False(t, less.Significant && more.Significant)
	})
}

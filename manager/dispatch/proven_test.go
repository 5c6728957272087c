package dispatch

import (
	"testing"

	"github.com/fleetune/fleetune/manager/search"
	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
)

// What is not proven is not called best, and is told all the same.
func TestProven(t *testing.T) {
	measured := func(candidate, baseline []float64) experiment.Measurement {
		return experiment.Measurement{
			Metrics:   map[string]experiment.Metric{"t": {Samples: candidate}},
			Reference: map[string]experiment.Metric{"t": {Samples: baseline}},
		}
	}
	spec := &task.Task{Optimization: task.Optimization{Objectives: []task.Objective{{Metric: "t", Direction: task.Minimize}}}}
	steady := []float64{10, 10.1, 9.9}
	ranking := []search.Observation{{Number: 4}, {Number: 2}, {Number: 3}}
	confirmations := map[int]experiment.Measurement{
		4: measured([]float64{2, 11, 4}, steady), // the fastest, now and then
		3: measured([]float64{8, 12, 9}, steady),
	}

	_, speedup, note := proven(spec, ranking, confirmations)
	require.Nil(t, speedup)
	require.Contains(t, note, "beyond the noise; #4 came nearest, with 2.50× (95 % confidence 0.9")

	confirmations[2] = measured([]float64{5, 5.1, 4.9}, steady)
	best, speedup, note := proven(spec, ranking, confirmations)
	require.Equal(t, 2, best)
	require.InDelta(t, 2, speedup.Ratio, 1e-9)
	require.Empty(t, note)

	_, speedup, note = proven(spec, ranking, map[int]experiment.Measurement{4: measured([]float64{11, 12, 13}, steady)})
	require.Nil(t, speedup)
	require.Contains(t, note, "no configuration beats the baseline beyond the noise; #4 came nearest, with 0.83×")

	_, _, note = proven(spec, ranking, nil)
	require.Equal(t, "no configuration beats the baseline beyond the noise", note)
}

// Which configuration keeps the promises counts in a confirmation as it does in
// the search: one that is slower, and keeps them, beats one that does not.
func TestProvenCountsPromises(t *testing.T) {
	spec := &task.Task{
		Optimization: task.Optimization{Objectives: []task.Objective{{Metric: "throughput", Direction: task.Maximize}}},
		Serving: &task.Serving{Scoring: task.ScoringPenalty, SLO: &task.SLO{Steepness: 0.1,
			Terms: []task.SLOTerm{{Metric: "mean_ttft", Threshold: 1, Weight: 1}}}},
	}
	side := func(throughput, ttft []float64) (map[string]experiment.Metric, []experiment.Cell) {
		return map[string]experiment.Metric{"throughput": {Samples: throughput}},
			[]experiment.Cell{{Metrics: map[string]experiment.Metric{"mean_ttft": {Samples: ttft, Median: ttft[0]}}}}
	}
	var m experiment.Measurement
	m.Serving = &experiment.Serving{}
	m.Metrics, m.Serving.Cells = side([]float64{90, 91, 89}, []float64{0.8, 0.9, 0.7})
	m.Reference, m.Serving.Reference = side([]float64{100, 101, 99}, []float64{2, 2.1, 1.9})
	ranking := []search.Observation{{Number: 2}}
	best, speedup, note := proven(spec, ranking, map[int]experiment.Measurement{2: m})
	require.Equal(t, 2, best)
	require.True(t, speedup.Significant)
	require.Greater(t, speedup.Ratio, 10.0)
	require.Empty(t, note)

	spec.Serving.Scoring = task.ScoringLegacy
	_, speedup, _ = proven(spec, ranking, map[int]experiment.Measurement{2: m})
	require.Nil(t, speedup)
}

package score

import (
	"math"
	"testing"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func term(metric string, threshold, weight float64) task.SLOTerm {
	return task.SLOTerm{Metric: metric, Threshold: threshold, Weight: weight, FailRatio: 0.5}
}

// The vectors of the specification, §5 (a) to (d).
func TestLegacyVectors(t *testing.T) {
	slo := func(threshold, weight float64) *task.SLO {
		return &task.SLO{Steepness: 0.1, Terms: []task.SLOTerm{term("p90_e2e_latency", threshold, weight)}}
	}
	latency := task.Objective{Metric: "mean_e2e_latency", Direction: task.Minimize}
	throughput := task.Objective{Metric: "mean_total_throughput_per_gpu", Direction: task.Maximize}

	a := Legacy(latency, slo(5, 2), map[string]float64{"mean_e2e_latency": 3, "p90_e2e_latency": 5.5})
	require.InDelta(t, 19.3097, a, 1e-4)
	b := Legacy(throughput, slo(5, 1), map[string]float64{"mean_total_throughput_per_gpu": 1000, "p90_e2e_latency": 5.01})
	require.InDelta(t, 20.2013, b, 1e-4)
	hard := slo(5, 1)
	hard.Terms[0].HardFail = true
	c := Legacy(throughput, hard, map[string]float64{"mean_total_throughput_per_gpu": 1000, "p90_e2e_latency": 7.6})
	require.Equal(t, math.Inf(-1), c)
	at := Legacy(throughput, hard, map[string]float64{"mean_total_throughput_per_gpu": 1000, "p90_e2e_latency": 7.5})
	require.False(t, math.IsInf(at, 0), "the comparison with the fail ratio is strict")
	require.Equal(t, math.Inf(-1), Legacy(task.Objective{Metric: "balanced", Direction: task.Maximize}, nil, nil))
	require.Equal(t, math.Inf(1), Legacy(task.Objective{Metric: "mean_ttft", Direction: task.Minimize}, nil, nil))
	require.Equal(t, 2.0, Legacy(latency, nil, map[string]float64{"p50_e2e_latency": 2}))
}

func cell(concurrency int, metrics map[string]float64) experiment.Cell {
	c := experiment.Cell{Scenario: "D(100,100)", Concurrency: concurrency, Metrics: map[string]experiment.Metric{}}
	for name, v := range metrics {
		c.Metrics[name] = experiment.Metric{Median: v, Samples: []float64{v}}
	}
	return c
}

// The legacy filter drops cells beyond a hard limit before the mean is taken,
// and keeps all where none would be left.
func TestLegacyDropsCellsThatBreakAHardLimit(t *testing.T) {
	slo := &task.SLO{Steepness: 0.1, Terms: []task.SLOTerm{{Metric: "mean_ttft", Threshold: 1, Weight: 1, HardFail: true, FailRatio: 0.2}}}
	s := &experiment.Serving{Cells: []experiment.Cell{cell(1, map[string]float64{"mean_ttft": 0.5}), cell(8, map[string]float64{"mean_ttft": 3})}}
	require.Equal(t, 0.5, LegacyMetrics(slo, s)["mean_ttft"])
	s.Cells = s.Cells[1:]
	require.Equal(t, 3.0, LegacyMetrics(slo, s)["mean_ttft"])
}

func servingTask(d task.Direction, metric string, slo *task.SLO) *task.Task {
	return &task.Task{
		Serving:      &task.Serving{SLO: slo, Scoring: task.ScoringPenalty},
		Optimization: task.Optimization{Objectives: []task.Objective{{Metric: metric, Direction: d}}},
	}
}

func measured(base float64, metric string, cells ...experiment.Cell) *experiment.Measurement {
	return &experiment.Measurement{
		Metrics: map[string]experiment.Metric{metric: {Median: base, Samples: []float64{base}}},
		Serving: &experiment.Serving{Cells: cells},
	}
}

// The penalty starts at nothing, never decreases, stays finite, and keeps the
// sign, for either direction.
func TestPenaltyIsContinuousFiniteAndSigned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.SampledFrom([]task.Direction{task.Minimize, task.Maximize}).Draw(t, "direction")
		base := rapid.Float64Range(0.001, 1e6).Draw(t, "base")
		slo := &task.SLO{Steepness: rapid.Float64Range(0.01, 10).Draw(t, "steepness"),
			Terms: []task.SLOTerm{term("mean_ttft", 1, rapid.Float64Range(0, 100).Draw(t, "weight"))}}
		spec := servingTask(d, "m", slo)
		scoreAt := func(ttft float64) float64 {
			v := Judge(spec, measured(base, "m", cell(1, map[string]float64{"mean_ttft": ttft})))
			require.Equal(t, experiment.OutcomeSuccess, v.Outcome)
			return v.Scores[0]
		}
		require.Equal(t, base, scoreAt(1), "a promise that is kept exactly costs nothing")
		require.InEpsilon(t, base, scoreAt(1+1e-12), 1e-6, "there is no step at the threshold")
		near := rapid.Float64Range(1, 1e6).Draw(t, "near")
		far := near + rapid.Float64Range(0, 1e6).Draw(t, "more")
		a, b := scoreAt(near), scoreAt(far)
		require.False(t, math.IsInf(b, 0) || math.IsNaN(b))
		require.Positive(t, b)
		require.False(t, Better(d, b, a), "missing by more is never better")
	})
}

// A hard limit in any cell makes a configuration infeasible, and what was
// measured is kept.
func TestHardLimitIsInfeasibleWithItsValues(t *testing.T) {
	slo := &task.SLO{Steepness: 0.1, Terms: []task.SLOTerm{{Metric: "p90_e2e_latency", Threshold: 5, Weight: 2, HardFail: true, FailRatio: 0.2}}}
	spec := servingTask(task.Maximize, "t", slo)
	v := Judge(spec, measured(100, "t", cell(1, map[string]float64{"p90_e2e_latency": 1}), cell(8, map[string]float64{"p90_e2e_latency": 6.1})))
	require.Equal(t, experiment.OutcomeInfeasible, v.Outcome)
	require.Nil(t, v.Scores)
	require.Equal(t, []float64{100}, v.Values)
	require.InDelta(t, 0.22, v.Margins[0], 1e-9)
	require.Contains(t, v.Failure.Message, "D(100,100) × 8")
	m := measured(100, "t", cell(1, map[string]float64{"p90_e2e_latency": 4}))
	Judge(spec, m)
	require.InDelta(t, -0.2, m.Metrics["slo_margin/p90_e2e_latency"].Median, 1e-9, "samplers learn from margins")

	v = Judge(spec, measured(100, "t", cell(8, map[string]float64{"p90_e2e_latency": 6})))
	require.Equal(t, experiment.OutcomeSuccess, v.Outcome, "at the fail ratio it is penalised only")
	require.Less(t, v.Scores[0], 100.0)
}

// In legacy scoring a maximised objective is stored negated: more is better.
func TestLegacyIsTurnedTheObjectivesWay(t *testing.T) {
	spec := servingTask(task.Maximize, "mean_total_throughput_per_gpu", nil)
	spec.Serving.Scoring = task.ScoringLegacy
	m := measured(100, "mean_total_throughput_per_gpu", cell(1, map[string]float64{"mean_total_throughput_per_gpu": 100}))
	require.Equal(t, []float64{100}, Judge(spec, m).Scores)
}

func TestCompliance(t *testing.T) {
	slo := &task.SLO{Steepness: 0.1, Terms: []task.SLOTerm{{Metric: "mean_ttft", Threshold: 1, HardFail: true, FailRatio: 0.5}}}
	var got []Severity
	for _, ttft := range []float64{1, 1.1, 1.3, 1.6} {
		p := Compliance(slo, []experiment.Cell{cell(1, map[string]float64{"mean_ttft": ttft})})
		require.Len(t, p, 1)
		got = append(got, p[0].Severity)
	}
	require.Equal(t, []Severity{Kept, Minor, Severe, Broken}, got)
	require.Empty(t, Compliance(slo, []experiment.Cell{{Missing: "out of memory"}}))
}

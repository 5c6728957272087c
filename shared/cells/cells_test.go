package cells

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/fleetune/fleetune/proto/experiment"
)

func cell(metrics map[string][]float64) experiment.Cell {
	c := experiment.Cell{Scenario: "D(100,100)", Concurrency: 1, Metrics: map[string]experiment.Metric{}}
	for name, samples := range metrics {
		c.Metrics[name] = Summarize("s", samples)
	}
	return c
}

func TestAggregate(t *testing.T) {
	got := Aggregate([]experiment.Cell{
		cell(map[string][]float64{"mean_e2e_latency": {1, 3}, "min_e2e_latency": {0.5, 1}, "max_e2e_latency": {2, 5}, "mean_total_throughput": {100, 200}, "p50_itl": {1, 1}}),
		cell(map[string][]float64{"mean_e2e_latency": {3, 5}, "min_e2e_latency": {0.7, 0.2}, "max_e2e_latency": {9, 4}, "mean_total_throughput": {300, 400}}),
	}, 2, 3.6)
	samples := map[string][]float64{}
	for name, m := range got {
		samples[name] = m.Samples
	}
	require.Equal(t, map[string][]float64{
		"mean_e2e_latency": {2, 4}, "min_e2e_latency": {0.5, 0.2}, "max_e2e_latency": {9, 5},
		"mean_total_throughput": {200, 300}, "mean_total_throughput_per_gpu": {100, 150},
		"max_total_throughput": {300, 400}, "max_total_throughput_per_gpu": {150, 200},
		// 3.6 an hour for each of two devices: 0.002 a second, over 100 and 300,
		// then 200 and 400 tokens a second.
		"cost_per_million_tokens": {(20 + 20.0/3) / 2, (10 + 5.0) / 2},
	}, samples)
	require.Equal(t, 3.0, got["mean_e2e_latency"].Median)
	require.Equal(t, "s", got["mean_e2e_latency"].Unit)
	require.Equal(t, "per million tokens", got["cost_per_million_tokens"].Unit)
}

// Equal cells have their own value as the mean, and large ones do not overflow.
func TestMeansStayWithinTheirCells(t *testing.T) {
	for _, v := range []float64{3.1, math.MaxFloat64} {
		c := cell(map[string][]float64{"mean_ttft": {v}})
		require.Equal(t, v, Aggregate([]experiment.Cell{c, c, c}, 1, 0)["mean_ttft"].Median)
	}
}

// Nothing is averaged over the cells that happen to be there.
func TestAMissingCellLeavesNothing(t *testing.T) {
	whole := cell(map[string][]float64{"mean_ttft": {1}})
	missing := experiment.Cell{Missing: "the engine ran out of memory"}
	require.Empty(t, Aggregate([]experiment.Cell{whole, missing}, 1, 1))
	require.Empty(t, Aggregate(nil, 1, 1))

	other := cell(map[string][]float64{"mean_tpot": {1}})
	require.Empty(t, Aggregate([]experiment.Cell{whole, other}, 1, 1), "a metric that a cell lacks")
}

func TestDerive(t *testing.T) {
	c := cell(map[string][]float64{"goodput": {8}, "mean_output_throughput": {100}, "mean_output_throughput_per_gpu": {7}})
	c.Requests, c.Errors = 8, 2
	got := Derive(c, 4, 0)
	require.Equal(t, 2.0, got["goodput_per_gpu"].Median)
	require.Equal(t, 0.25, got["error_rate"].Median)
	require.Equal(t, 0.75, got["success_rate"].Median)
	require.Equal(t, 7.0, got["mean_output_throughput_per_gpu"].Median, "what is measured stands")
	require.NotContains(t, got, "cost_per_million_tokens")
	require.NotContains(t, c.Metrics, "error_rate", "the cell itself is left as it was")

	c = cell(map[string][]float64{"mean_total_throughput": {0}})
	require.NotContains(t, Derive(c, 1, 1), "cost_per_million_tokens", "tokens that never came have no price")
}

func TestAggregateProperties(t *testing.T) {
	names := []string{"mean_ttft", "min_e2e_latency", "max_output_throughput", "goodput", "mean_output_throughput"}
	rapid.Check(t, func(t *rapid.T) {
		n, repeats := rapid.IntRange(1, 5).Draw(t, "cells"), rapid.IntRange(1, 4).Draw(t, "repeats")
		set := make([]experiment.Cell, n)
		for i := range set {
			metrics := map[string][]float64{}
			for _, name := range names {
				metrics[name] = rapid.SliceOfN(rapid.Float64Range(0, 1e300), repeats, repeats).Draw(t, fmt.Sprint(name, i))
			}
			set[i] = cell(metrics)
		}
		got := Aggregate(set, rapid.IntRange(1, 8).Draw(t, "world"), 1)
		for _, name := range names {
			m, ok := got[name]
			if !ok || len(m.Samples) != repeats {
				t.Fatalf("%s has %d samples for %d repeats", name, len(m.Samples), repeats)
			}
			for r, v := range m.Samples {
				low, high := math.Inf(1), math.Inf(-1)
				for _, c := range set {
					low, high = min(low, c.Metrics[name].Samples[r]), max(high, c.Metrics[name].Samples[r])
				}
				if v < low || v > high {
					t.Fatalf("%s: %v is outside its cells' %v to %v", name, v, low, high)
				}
			}
		}
		// The order in which cells are listed says nothing.
		mirrored := make([]experiment.Cell, n)
		for i := range set {
			mirrored[n-1-i] = set[i]
		}
		again := Aggregate(mirrored, 1, 0)
		for _, name := range names {
			if a, b := got[name].Median, again[name].Median; math.Abs(a-b) > 1e-9*math.Abs(a) {
				t.Fatalf("%s: %v, and %v in another order", name, a, b)
			}
		}
		// One missing cell takes every metric.
		set[rapid.IntRange(0, n-1).Draw(t, "missing")].Missing = "gone"
		if left := Aggregate(set, 1, 1); len(left) != 0 {
			t.Fatalf("%v is left of a set that is incomplete", left)
		}
	})
}

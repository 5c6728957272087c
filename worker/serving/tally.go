package serving

import (
	"math"
	"slices"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
	"github.com/fleetune/fleetune/worker/load"
	"github.com/fleetune/fleetune/worker/load/metrics"
)

// tally gathers what a side measured, cell by cell.
type tally struct {
	order  []task.Cell
	by     map[task.Cell]*experiment.Cell
	passes int
}

func newTally(order []task.Cell) *tally {
	t := &tally{order: order, by: map[task.Cell]*experiment.Cell{}}
	for _, c := range order {
		t.by[c] = &experiment.Cell{Scenario: c.Scenario, Concurrency: c.Concurrency, Missing: "not measured"}
	}
	return t
}

// any says whether a cell was measured.
func (t *tally) any() bool {
	return slices.ContainsFunc(t.order, func(c task.Cell) bool { return len(t.by[c].Metrics) > 0 })
}

// cells in the order of the task's fixed set.
func (t *tally) cells() []experiment.Cell {
	list := make([]experiment.Cell, len(t.order))
	for i, c := range t.order {
		list[i] = *t.by[c]
	}
	return list
}

// miss marks a cell that was not loaded. What earlier passes measured of it
// stays.
func (t *tally) miss(c task.Cell, why string) {
	if cell := t.by[c]; len(cell.Metrics) == 0 {
		cell.Missing = why
	}
}

// fail marks a cell that was loaded in vain; what came of its requests is
// counted.
func (t *tally) fail(c task.Cell, result *load.CellResult, why string) {
	t.miss(c, why)
	if result != nil {
		t.count(t.by[c], result)
	}
}

func (t *tally) count(cell *experiment.Cell, result *load.CellResult) {
	cell.Requests += result.Requests
	cell.Errors += result.Errors
	for _, e := range result.Full.Summary.Errors {
		if cell.ErrorsByClass == nil {
			cell.ErrorsByClass = map[string]int{}
		}
		cell.ErrorsByClass[string(e.Class)] += e.Count
	}
}

// figures that need more than the cell itself.
type figures struct {
	world int
	cost  float64
	slo   bool
	// speed of simulated time, by the clock; 0 where nothing is simulated.
	speed float64
}

// add keeps the metrics of a cell, a sample each.
func (t *tally) add(c task.Cell, result *load.CellResult, usage Usage, f figures) {
	cell := t.by[c]
	cell.Missing = ""
	t.count(cell, result)
	if cell.Metrics == nil {
		cell.Metrics = map[string]experiment.Metric{}
	}
	keep := func(name, unit string, value float64) {
		value = simulated(unit, value, f.speed)
		if !math.IsNaN(value) && !math.IsInf(value, 0) {
			cell.Metrics[name] = metric(unit, append(cell.Metrics[name].Samples, value))
		}
	}
	spans(result, keep)
	rates(result, f, keep)
	usage.metrics(result, keep)
}

// spans are the metrics in seconds.
func spans(result *load.CellResult, keep func(name, unit string, value float64)) {
	const ms = 1e-3
	for of, stats := range map[string]metrics.Stats{"e2e_latency": result.Latency, "ttft": result.TTFT, "tpot": result.TPOT} {
		if stats.Count == 0 {
			continue
		}
		keep("mean_"+of, seconds, stats.Avg*ms)
		keep("p50_"+of, seconds, stats.P50*ms)
		keep("p90_"+of, seconds, stats.P90*ms)
		keep("p99_"+of, seconds, stats.P99*ms)
		if of == "e2e_latency" {
			keep("min_"+of, seconds, stats.Min*ms)
			keep("max_"+of, seconds, stats.Max*ms)
		}
	}
	if gaps, ok := result.Full.Summary.Get(metrics.TagICL); ok && gaps.Stats.Count > 0 {
		keep("p50_itl", seconds, gaps.Stats.P50*ms)
		keep("p99_itl", seconds, gaps.Stats.P99*ms)
	}
}

// rates are what came out per second, per device and per price.
func rates(result *load.CellResult, f figures, keep func(name, unit string, value float64)) {
	per := func(name, unit string, value float64) {
		keep(name, unit, value)
		keep(name+"_per_gpu", unit, value/float64(f.world))
	}
	output, total := result.OutputThroughput, result.TotalThroughput
	per("mean_output_throughput", tokensPerSecond, output)
	per("mean_total_throughput", tokensPerSecond, total)
	per("mean_input_throughput", tokensPerSecond, total-output)
	per("max_output_throughput", tokensPerSecond, output)
	per("max_total_throughput", tokensPerSecond, total)
	keep("request_throughput", requestsPerSecond, result.RequestThroughput)
	if f.slo {
		per("goodput", requestsPerSecond, result.Goodput)
	}
	keep("error_rate", "", result.ErrorRate)
	keep("success_rate", "", 1-result.ErrorRate)
	if f.cost > 0 && total > 0 {
		keep("cost_per_million_tokens", perMillion, f.cost*float64(f.world)/3600/total*1e6)
	}
}

// metric sums samples up.
func metric(unit string, samples []float64) experiment.Metric {
	sorted := slices.Sorted(slices.Values(samples))
	at := func(q float64) float64 {
		x := q * float64(len(sorted)-1)
		low := int(x)
		if low+1 >= len(sorted) {
			return sorted[len(sorted)-1]
		}
		return sorted[low] + (x-float64(low))*(sorted[low+1]-sorted[low])
	}
	return experiment.Metric{Unit: unit, Samples: samples, Median: at(0.5), Spread: at(0.75) - at(0.25)}
}

// samplesOf are the samples of metrics.
func samplesOf(list map[string]experiment.Metric) map[string][]float64 {
	samples := make(map[string][]float64, len(list))
	for name, m := range list {
		samples[name] = m.Samples
	}
	return samples
}

func mean(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// Package cells aggregates the cells of a serving experiment into the metrics
// that are scored: the worker does it for a measurement, the manager for what
// it compares. Configurations are compared on the same work, so a cell that is
// missing is never averaged away.
package cells

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/experiment"
)

// Aggregate joins the metrics of a task's fixed set of cells, one sample for
// each repeat: the least of what starts with min_, the most of what starts with
// max_, and the unweighted mean of everything else. A metric that a cell lacks
// is left out, so a missing cell leaves none. costPerDeviceHour prices one of
// worldSize devices; 0 is unknown.
func Aggregate(cells []experiment.Cell, worldSize int, costPerDeviceHour float64) map[string]experiment.Metric {
	all := make([]map[string]experiment.Metric, 0, len(cells))
	for i := range cells {
		if cells[i].Missing != "" {
			return map[string]experiment.Metric{}
		}
		all = append(all, Derive(cells[i], worldSize, costPerDeviceHour))
	}
	joined := map[string]experiment.Metric{}
	if len(all) == 0 {
		return joined
	}
	for name := range all[0] {
		if m, ok := join(all, name); ok {
			joined[name] = m
		}
	}
	return joined
}

// Derive returns a cell's metrics with those that follow from others: shares of
// errors, throughput and goodput of each device, and the price of a million
// tokens. What the cell has already stays as it is.
func Derive(cell experiment.Cell, worldSize int, costPerDeviceHour float64) map[string]experiment.Metric {
	metrics := maps.Clone(cell.Metrics)
	if metrics == nil {
		metrics = map[string]experiment.Metric{}
	}
	put := func(name, unit string, from experiment.Metric, f func(float64) float64) {
		if _, have := metrics[name]; have || len(from.Samples) == 0 {
			return
		}
		samples := make([]float64, len(from.Samples))
		for i, v := range from.Samples {
			samples[i] = f(v)
			if math.IsNaN(samples[i]) || math.IsInf(samples[i], 0) {
				return
			}
		}
		metrics[name] = Summarize(unit, samples)
	}
	if cell.Requests > 0 {
		share := experiment.Metric{Samples: []float64{float64(cell.Errors) / float64(cell.Requests)}}
		put("error_rate", "", share, func(v float64) float64 { return v })
	}
	put("success_rate", "", metrics["error_rate"], func(v float64) float64 { return 1 - v })
	for _, of := range []string{"output", "total"} {
		mean := metrics["mean_"+of+"_throughput"]
		put("max_"+of+"_throughput", mean.Unit, mean, func(v float64) float64 { return v })
	}
	if worldSize > 0 {
		for _, name := range perDevice() {
			whole := metrics[name]
			put(name+"_per_gpu", whole.Unit, whole, func(v float64) float64 { return v / float64(worldSize) })
		}
	}
	if costPerDeviceHour > 0 && worldSize > 0 {
		put("cost_per_million_tokens", "per million tokens", metrics["mean_total_throughput"], func(tokens float64) float64 {
			return costPerDeviceHour * float64(worldSize) / 3600 / tokens * 1e6
		})
	}
	return metrics
}

// perDevice lists the metrics that are also told for one device.
func perDevice() []string {
	return []string{"mean_output_throughput", "mean_input_throughput", "mean_total_throughput", "max_output_throughput", "max_total_throughput", "goodput"}
}

// join makes one metric of that of every cell; false where one lacks it. Where
// cells were repeated unequally often, as many samples count as the least has.
func join(all []map[string]experiment.Metric, name string) (experiment.Metric, bool) {
	first, n := all[0][name], math.MaxInt
	for _, metrics := range all {
		m, ok := metrics[name]
		if !ok || m.Unit != first.Unit {
			return experiment.Metric{}, false
		}
		n = min(n, len(m.Samples))
	}
	samples := make([]float64, 0, n)
	for i := range n {
		values := make([]float64, len(all))
		for j, metrics := range all {
			values[j] = metrics[name].Samples[i]
		}
		v := combine(name, values)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return experiment.Metric{}, false
		}
		samples = append(samples, v)
	}
	if len(samples) == 0 {
		return experiment.Metric{}, false
	}
	return Summarize(first.Unit, samples), true
}

func combine(name string, values []float64) float64 {
	switch {
	case strings.HasPrefix(name, "min_"):
		return slices.Min(values)
	case strings.HasPrefix(name, "max_"):
		return slices.Max(values)
	}
	return mean(values)
}

// mean divides before it sums, so that large values do not overflow, and stays
// within the values, which rounding may leave.
func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v / float64(len(values))
	}
	return min(max(sum, slices.Min(values)), slices.Max(values))
}

// Summarize makes a metric of samples: their median and interquartile range,
// by linear interpolation.
func Summarize(unit string, samples []float64) experiment.Metric {
	sorted := slices.Sorted(slices.Values(samples))
	at := func(q float64) float64 {
		x := q * float64(len(sorted)-1)
		low := min(int(x), len(sorted)-1)
		high := min(low+1, len(sorted)-1)
		return sorted[low] + (x-float64(low))*(sorted[high]-sorted[low])
	}
	if len(sorted) == 0 {
		return experiment.Metric{Unit: unit}
	}
	return experiment.Metric{Unit: unit, Samples: samples, Median: at(0.5), Spread: min(at(0.75)-at(0.25), math.MaxFloat64)}
}

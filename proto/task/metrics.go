package task

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fleetune/fleetune/proto/space"
	"github.com/fleetune/fleetune/proto/task/internal/form"
)

// A ServingMetric is a quantity that serving experiments measure, for every
// cell and over all of them.
type ServingMetric struct {
	Name string
	// Unit is s, tokens/s, requests/s, J, W, %, bytes, or empty for a share.
	Unit      string
	Direction Direction
}

// ServingMetrics lists what serving experiments measure. Energy and the GPU's
// own figures are there only where the devices tell them, cost where the task
// prices a device, goodput where it has SLOs.
func ServingMetrics() []ServingMetric {
	var list []ServingMetric
	add := func(d Direction, unit string, names ...string) {
		for _, name := range names {
			list = append(list, ServingMetric{Name: name, Unit: unit, Direction: d})
		}
	}
	for _, of := range []string{"e2e_latency", "ttft", "tpot"} {
		add(Minimize, "s", "mean_"+of, "p50_"+of, "p90_"+of, "p99_"+of)
	}
	add(Minimize, "s", "min_e2e_latency", "max_e2e_latency", "p50_itl", "p99_itl", "load_time")
	for _, of := range []string{"mean_output_throughput", "mean_input_throughput", "mean_total_throughput", "max_output_throughput", "max_total_throughput"} {
		add(Maximize, "tokens/s", of, of+"_per_gpu")
	}
	add(Maximize, "requests/s", "request_throughput", "goodput", "goodput_per_gpu")
	add(Minimize, "", "error_rate")
	add(Maximize, "", "success_rate")
	add(Minimize, "per million tokens", "cost_per_million_tokens")
	add(Minimize, "J", "energy_per_token")
	add(Minimize, "W", "mean_power")
	add(Maximize, "%", "gpu_utilization")
	add(Minimize, "bytes", "gpu_memory_used")
	return list
}

// servingMetric gives the short name of an objective its metric, and refuses a
// name that no experiment measures.
func (d *decoder) servingMetric(path string, o *form.Objective) string {
	metric := o.Metric
	if long, ok := objectiveMetrics[metric]; ok {
		metric = long
	}
	all := ServingMetrics()
	i := slices.IndexFunc(all, func(m ServingMetric) bool { return m.Name == metric })
	if i < 0 {
		words := []string{"latency", "throughput", "ttft", "tpot", "goodput", "cost", "energy"}
		names := slices.Clone(words)
		for _, m := range all {
			names = append(names, m.Name)
		}
		nearest := space.Nearest(o.Metric, names)
		if nearest != "" {
			nearest = o.Direction + "_" + nearest
		}
		d.nearest(path, fmt.Sprintf("names %q, which a serving experiment does not measure", o.Metric),
			strings.Join(words, ", ")+", or a metric such as p99_ttft", nearest)
		return o.Metric
	}
	if all[i].Direction != Direction(o.Direction) && metric != "gpu_memory_used" && metric != "gpu_utilization" && metric != "mean_power" {
		d.nearest(path, fmt.Sprintf("asks for the worse end of %s", metric), "", string(all[i].Direction)+"_"+o.Metric)
	}
	switch {
	case strings.HasPrefix(metric, "goodput") && d.form.SLO == nil:
		d.Fail(path, "optimises goodput, which is the rate of requests that keep the SLOs, and there is no slo", "slo: {ttft: {threshold: 1.0}}")
	case metric == "cost_per_million_tokens" && d.form.Optimization.CostPerDeviceHour == 0:
		d.Fail(path, "optimises cost without the price of a device", "optimization: {cost_per_device_hour: 2.5}")
	}
	return metric
}

func (d *decoder) servingOptimization(t *Task, f *form.Optimization) {
	o := &t.Optimization
	t.Serving.CostPerDeviceHour = f.CostPerDeviceHour
	if !d.index.Has("optimization.timeout_per_iteration") {
		o.IterationTimeout = servingTimeout
	}
	if o.Repeats == 0 {
		o.Repeats = servingRepeats
	}
	if _, ok := o.Options["startup"]; f.NInitialRandom > 0 && !ok && slices.Contains([]string{"bayesian", "tpe", "gp"}, o.Strategy) {
		if o.Options == nil {
			o.Options = form.Options{}
		}
		o.Options["startup"] = []byte(fmt.Sprint(f.NInitialRandom))
	}
	for at, value := range map[string]string{"optimization.study_name": f.StudyName, "optimization.storage": f.Storage} {
		if value != "" {
			d.warn(at, "has no meaning here: results are kept by the manager", "")
		}
	}
}

// servingTimeouts nests what bounds parts of an experiment in what bounds it.
func (d *decoder) servingTimeouts(t *Task) {
	s, o := t.Serving, &t.Optimization
	for _, inner := range []struct {
		name  string
		limit *Duration
	}{{"load_timeout", &s.LoadTimeout}, {"benchmark_timeout", &s.BenchmarkTimeout}} {
		d.within("optimization."+inner.name, *inner.limit, "timeout_per_iteration", o.IterationTimeout)
		if *inner.limit == 0 {
			*inner.limit = o.IterationTimeout
		}
	}
	b := &s.Benchmark
	if d.clean("benchmark") && b.CellTime > s.BenchmarkTimeout {
		d.warn("benchmark.max_time_per_iteration", fmt.Sprintf("is %v (it is in minutes), longer than the %v that all cells may take together", b.CellTime.D(), s.BenchmarkTimeout.D()), "")
	}
}

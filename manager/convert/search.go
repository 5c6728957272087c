package convert

import (
	"fmt"
	"math"
	"strings"

	"github.com/fleetune/fleetune/shared/engine"
	"github.com/goccy/go-yaml"
)

func (c *converter) optimization() doc {
	o := c.Optimization
	samplers := map[string]string{"": "tpe", "tpe": "tpe", "nsga2": "nsga2", "botorch": "gp", "gp": "gp", "random": "random", "grid": "grid_search"}
	strategy, ok := samplers[o.Sampler]
	if !ok {
		strategy = "bayesian"
		c.note("sampler %s is unknown here; bayesian stands in", o.Sampler)
	}
	d := doc{pair("strategy", strategy)}
	objectives := c.objectives()
	if len(objectives) == 1 {
		d = append(d, pair("objective", objectives[0]))
	} else {
		d = append(d, pair("objectives", objectives))
	}
	if o.Trials > 0 {
		d = append(d, pair("max_iterations", o.Trials))
	}
	if o.Startup > 0 {
		d = append(d, pair("n_initial_random", o.Startup))
	}
	if n := max(o.Concurrent, o.Concurrent2); n > 0 {
		d = append(d, pair("max_parallel", n))
	}
	return d
}

func (c *converter) objectives() []string {
	list := c.Optimization.Objectives
	switch c.Optimization.Preset {
	case "high_throughput":
		list = []objective{{Metric: "output_tokens_per_second", Direction: "maximize"}}
	case "low_latency":
		list = []objective{{Metric: "request_latency", Direction: "minimize", Percentile: "p95"}}
	case "balanced":
		list = []objective{{Metric: "output_tokens_per_second", Direction: "maximize"}, {Metric: "request_latency", Direction: "minimize"}}
	}
	if _, several := c.Optimization.Objective.([]any); several && len(list) == 0 {
		// A list of directions means throughput against latency, whatever it says.
		list = []objective{{Metric: "output_tokens_per_second", Direction: "maximize"}, {Metric: "request_latency", Direction: "minimize"}}
	}
	if len(list) == 0 {
		list = []objective{legacyObjective(c.Optimization.Objective)}
	}
	var names []string
	for _, o := range list {
		names = append(names, o.Direction+"_"+c.metric(o))
	}
	return names
}

// legacyObjective reads "maximize", "minimize", or one objective as a mapping.
func legacyObjective(v any) objective {
	if m, ok := v.(yaml.MapSlice); ok {
		of := mapping(m)
		text := func(key string) string { s, _ := of[key].(string); return s }
		return objective{Metric: text("metric"), Direction: text("direction"), Percentile: text("percentile")}
	}
	if v == "minimize" {
		return objective{Metric: "request_latency", Direction: "minimize"}
	}
	return objective{Metric: "output_tokens_per_second", Direction: "maximize"}
}

// metric names what a study optimises.
func (c *converter) metric(o objective) string {
	percentile := map[string]string{"": "p50", "median": "p50", "p50": "p50", "mean": "mean", "p90": "p90", "p95": "p99", "p99": "p99"}[o.Percentile]
	if percentile == "" {
		percentile = "p50"
		c.note("percentile %s of %s becomes the median", o.Percentile, o.Metric)
	}
	if o.Percentile == "p95" {
		c.note("p95 of %s becomes p99", o.Metric)
	}
	switch o.Metric {
	case "output_tokens_per_second":
		return "mean_output_throughput"
	case "requests_per_second":
		return "request_throughput"
	case "request_latency":
		return percentile + "_e2e_latency"
	case "time_to_first_token_ms":
		return percentile + "_ttft"
	case "inter_token_latency_ms":
		switch percentile {
		case "p50", "p99":
			return percentile + "_itl"
		}
		return percentile + "_tpot"
	}
	c.note("metric %s is unknown here; latency stands in", o.Metric)
	return "mean_e2e_latency"
}

func (c *converter) parameters() doc {
	var d doc
	for _, item := range c.Parameters {
		name := strings.ReplaceAll(fmt.Sprint(item.Key), "_", "-")
		settings, _ := item.Value.(yaml.MapSlice)
		of := mapping(settings)
		if of["enabled"] == false || isVariable(item) {
			continue
		}
		if name == "enable-cuda-graphs" {
			name = "enforce-eager"
			c.note("enable_cuda_graphs becomes enforce-eager, its opposite")
		}
		if values := c.values(name, of); values != nil {
			d = append(d, pair(name, values))
		}
	}
	for _, item := range c.Static {
		name := strings.ReplaceAll(fmt.Sprint(item.Key), "_", "-")
		d = append(d, pair(name, []any{item.Value}))
	}
	return d
}

// isVariable says that an entry among the parameters is an environment
// variable: it says so, or has its spelling.
func isVariable(item yaml.MapItem) bool {
	settings, _ := item.Value.(yaml.MapSlice)
	name := fmt.Sprint(item.Key)
	return mapping(settings)["type"] == "environment" || name == strings.ToUpper(name) && name != strings.ToLower(name)
}

// values are the domain of a parameter; nil where none is known.
func (c *converter) values(name string, of map[string]any) any {
	if options, ok := of["options"].([]any); ok && len(options) > 0 {
		return options
	}
	low, lowOK := float(of["min"])
	high, highOK := float(of["max"])
	if lowOK && highOK {
		return span(of, low, high)
	}
	e, err := engine.Lookup(engine.VLLM)
	if err != nil {
		return nil
	}
	flag, ok := e.Flag(name)
	switch {
	case ok && (flag.Type == engine.Switch || flag.Type == engine.Toggle):
		return []bool{true, false}
	case ok && len(flag.Choices) > 0:
		c.note("%s gives no options: all %d that vLLM %s knows are tried", name, len(flag.Choices), e.Version())
		return flag.Choices
	}
	c.note("%s gives no range and is left out; write one, as in %s: [64, 128]", name, name)
	return nil
}

func span(of map[string]any, low, high float64) doc {
	step, _ := float(of["step"])
	whole := low == math.Trunc(low) && high == math.Trunc(high) && step == math.Trunc(step)
	kind := "continuous"
	if whole {
		kind = "integer"
	}
	d := doc{pair("type", kind), pair("low", number(low)), pair("high", number(high))}
	if step > 0 {
		d = append(d, pair("step", number(step)))
	}
	return d
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// number is whole where it can be.
func number(f float64) any {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return int64(f)
	}
	return f
}

func (c *converter) environment() doc {
	var d, set, vary doc
	for _, item := range c.StaticEnv {
		set = append(set, pair(fmt.Sprint(item.Key), fmt.Sprint(item.Value)))
	}
	variables := append(yaml.MapSlice{}, c.Environment...)
	for _, item := range c.Parameters {
		if isVariable(item) {
			variables = append(variables, item)
		}
	}
	for _, item := range variables {
		settings, _ := item.Value.(yaml.MapSlice)
		of := mapping(settings)
		options, _ := of["options"].([]any)
		switch {
		case of["enabled"] == false:
		case len(options) > 0:
			vary = append(vary, pair(fmt.Sprint(item.Key), options))
		default:
			c.note("variable %v gives no options and is left out", item.Key)
		}
	}
	if set != nil {
		d = append(d, pair("env", doc{pair("set", set)}))
	}
	if vary != nil {
		d = append(d, pair("env_parameters", vary))
	}
	return d
}

// mapping reads a mapping whose keys are texts.
func mapping(s yaml.MapSlice) map[string]any {
	m := make(map[string]any, len(s))
	for _, item := range s {
		m[fmt.Sprint(item.Key)] = item.Value
	}
	return m
}

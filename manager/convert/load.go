package convert

import "fmt"

// What a study takes where it does not say.
const (
	studySeconds = 300
	studyTokens  = 1000
	studyRate    = 50
)

func (c *converter) benchmark() doc {
	b := c.Benchmark
	if b.Type != "" && b.Type != "guidellm" {
		c.note("benchmark_type %s: the load is Fleetune's own, by scenario and concurrency", b.Type)
	}
	d := doc{}
	if b.Processor != "" && b.Processor != b.Model {
		d = append(d, pair("model_tokenizer", b.Processor))
	}
	if b.DatasetPath != "" {
		c.note("dataset_path %s is a path in the study's container and is left out; name the file as dataset_url", b.DatasetPath)
	}
	if b.Dataset != "" {
		d = append(d, pair("dataset_url", b.Dataset), pair("traffic_scenarios", []string{"dataset"}))
	} else {
		d = append(d, pair("traffic_scenarios", []string{c.scenario()}))
	}
	seconds := b.Seconds
	if seconds == 0 {
		seconds = studySeconds
	}
	d = append(d, pair("num_concurrency", c.concurrency()), pair("max_time_per_iteration", number(seconds/60)))
	requests := int64(10_000_000) // a study's cells end by their time
	if n := max(b.SampleNumber, b.Samples); n > 0 {
		requests = n
	}
	return append(d, pair("max_requests_per_iteration", requests))
}

func (c *converter) scenario() string {
	b := c.Benchmark
	prompt, output := b.Prompt, b.Output
	if prompt == 0 {
		prompt = studyTokens
	}
	if output == 0 {
		output = studyTokens
	}
	if b.PromptStdev == 0 && b.OutputStdev == 0 {
		return fmt.Sprintf("D(%d,%d)", prompt, output)
	}
	if b.PromptMin+b.PromptMax+b.OutputMin+b.OutputMax > 0 {
		c.note("lengths are normal without the study's least and most tokens")
	}
	return fmt.Sprintf("N(%d,%d)/(%d,%d)", prompt, b.PromptStdev, output, b.OutputStdev)
}

// concurrency are the study's requests in flight: its rate, and the levels of
// its baseline, for every configuration is measured at all of them here.
func (c *converter) concurrency() []int64 {
	var list []int64
	add := func(v any) {
		f, ok := float(v)
		n := int64(f)
		for _, known := range list {
			ok = ok && known != n
		}
		if ok && n > 0 {
			list = append(list, n)
		}
	}
	for _, v := range []any{c.Benchmark.Rate, c.Benchmark.Concurrency} {
		if items, ok := v.([]any); ok {
			for _, item := range items {
				add(item)
			}
			continue
		}
		add(v)
	}
	if rate := mapping(c.Benchmark.Tunables.Rate); rate["enabled"] != false && len(rate) > 0 {
		for _, n := range levels(rate) {
			add(n)
		}
		c.note("the rate is not tuned: every configuration is measured at each of its levels")
	}
	if c.Baseline != nil {
		for _, n := range c.Baseline.Concurrency {
			add(n)
		}
	}
	if len(list) == 0 {
		return []int64{studyRate}
	}
	return list
}

// mostLevels bounds the levels of a rate.
const mostLevels = 32

// levels are the values of a tunable.
func levels(of map[string]any) []any {
	if options, ok := of["options"].([]any); ok {
		return options[:min(len(options), mostLevels)]
	}
	low, okLow := float(of["min"])
	high, okHigh := float(of["max"])
	step, _ := float(of["step"])
	if !okLow || !okHigh {
		return nil
	}
	if step <= 0 {
		return []any{low, high}
	}
	var list []any
	for v := low; v <= high && len(list) < mostLevels; v += step {
		list = append(list, v)
	}
	return list
}

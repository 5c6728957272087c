package metrics

import (
	"fmt"
	"math"
	"strings"
	"unicode"
)

// ofRun lists the figures of a whole run, and of a slice of it.
var ofRun = []Definition{
	{Tag: TagRequestCount, Header: "Requests", Unit: "requests", Larger: true},
	{Tag: TagErrorCount, Header: "Failed Requests", Unit: "requests"},
	{Tag: TagErrorRate, Header: "Error Rate", Unit: "ratio"},
	{Tag: TagUnfinished, Header: "Unfinished Requests", Unit: "requests"},
	{Tag: TagDuration, Header: "Benchmark Duration", Unit: "sec"},
	{Tag: TagRequestThroughput, Header: "Request Throughput", Unit: "requests/sec", Larger: true},
	{Tag: TagOutputThroughput, Header: "Output Token Throughput", Unit: "tokens/sec", Larger: true},
	{Tag: TagTotalThroughput, Header: "Total Token Throughput", Unit: "tokens/sec", Larger: true},
	{Tag: TagGoodCount, Header: "Good Requests", Unit: "requests", Larger: true},
	{Tag: TagGoodput, Header: "Goodput", Unit: "requests/sec", Larger: true},
	{Tag: "total_isl", Header: "Total Input Tokens", Unit: "tokens", Larger: true},
	{Tag: "total_osl", Header: "Total Output Sequence Tokens", Unit: "tokens", Larger: true},
	{Tag: "total_output_tokens", Header: "Total Output Tokens", Unit: "tokens", Larger: true},
	{Tag: "total_reasoning_tokens", Header: "Total Reasoning Tokens", Unit: "tokens", Larger: true},
	{Tag: "total_usage_prompt_tokens", Header: "Total Usage Prompt Tokens", Unit: "tokens", Larger: true},
	{Tag: "total_usage_completion_tokens", Header: "Total Usage Completion Tokens", Unit: "tokens", Larger: true},
	{Tag: "total_usage_total_tokens", Header: "Total Usage Tokens", Unit: "tokens", Larger: true},
	{Tag: "total_usage_reasoning_tokens", Header: "Total Usage Reasoning Tokens", Unit: "tokens", Larger: true},
	{Tag: "total_usage_prompt_cache_read_tokens", Header: "Total Usage Cache Read Tokens", Unit: "tokens", Larger: true},
	{Tag: "total_usage_prompt_cache_write_tokens", Header: "Total Usage Cache Write Tokens", Unit: "tokens", Larger: true},
	{Tag: "total_usage_prompt_cache_miss_tokens", Header: "Total Usage Cache Miss Tokens", Unit: "tokens"},
	{Tag: TagCacheRead, Header: "Prompt Tokens Read from Cache", Unit: "%", Larger: true},
	{Tag: TagIdealHit, Header: "Theoretical Prefix Cache Hit", Unit: "%", Larger: true},
	{Tag: "context_overflow_count", Header: "Context Overflows", Unit: "requests"},
	{Tag: "usage_discrepancy_count", Header: "Usage Discrepancies", Unit: "requests"},
	{Tag: "osl_mismatch_count", Header: "Output Length Mismatches", Unit: "requests"},
	{Tag: "adj_effective_latency_p50", Header: "Adjusted Effective Latency p50", Unit: "ms"},
	{Tag: "adj_effective_latency_p90", Header: "Adjusted Effective Latency p90", Unit: "ms"},
	{Tag: "adj_effective_latency_p99", Header: "Adjusted Effective Latency p99", Unit: "ms"},
}

// aggregates are the figures of a whole tally.
func (t *tally) aggregates(slos bool) []Metric {
	values := map[string]float64{
		TagRequestCount: float64(t.valid), TagErrorCount: float64(t.bad), TagErrorRate: ratio(float64(t.bad), float64(t.valid+t.bad)),
		"context_overflow_count": float64(t.overflow), "usage_discrepancy_count": float64(t.discrepant), "osl_mismatch_count": float64(t.mismatched),
		TagCacheRead: 100 * ratio(float64(t.cacheRead), float64(t.cachePrompt)),
		TagIdealHit:  100 * ratio(float64(t.hits), float64(t.blocks)),
	}
	if t.unfinished > 0 {
		values[TagUnfinished] = float64(t.unfinished)
	}
	seconds := float64(t.maxEnd-t.minStart) / nsPerS
	if t.valid > 0 {
		values[TagDuration] = seconds
		values[TagRequestThroughput] = ratio(float64(t.valid), seconds)
	}
	if slos {
		values[TagGoodCount] = float64(t.good)
		if values[TagGoodput] = 0; t.valid > 0 {
			values[TagGoodput] = ratio(float64(t.good), seconds)
		}
	}
	t.totals(values, seconds)
	t.adjusted(values)
	var out []Metric
	for i := range ofRun {
		d := &ofRun[i]
		if x, ok := values[d.Tag]; ok && !math.IsNaN(x) && !math.IsInf(x, 0) {
			out = append(out, Metric{Tag: d.Tag, Header: d.Header, Unit: d.Unit, Stats: Stats{Avg: x}, Aggregate: true})
		}
	}
	return out
}

// totals puts the sums over requests and the token rates made of them.
func (t *tally) totals(values map[string]float64, seconds float64) {
	var input, output *Distribution
	for i := range perRequest {
		d := &t.dists[i]
		if d.n == 0 {
			continue
		}
		switch tag := perRequest[i].Tag; {
		case tag == TagISL:
			input = d
			values["total_isl"] = d.sum
		case tag == TagOSL:
			output = d
			values["total_osl"] = d.sum
		case tag == "output_token_count":
			values["total_output_tokens"] = d.sum
		case tag == "reasoning_token_count":
			values["total_reasoning_tokens"] = d.sum
		case strings.HasPrefix(tag, "usage_") && strings.HasSuffix(tag, "_tokens"):
			values["total_"+tag] = d.sum
		}
	}
	if output == nil {
		return
	}
	values[TagOutputThroughput] = ratio(output.sum, seconds)
	if input != nil {
		values[TagTotalThroughput] = ratio(input.sum+output.sum, seconds)
	}
}

// adjusted puts percentiles of the effective latency in which every failed
// request counts as one that never ended. A percentile among those is left out.
func (t *tally) adjusted(values map[string]float64) {
	if t.bad == 0 {
		return
	}
	for i := range perRequest {
		if perRequest[i].Tag != TagEffectiveLatency || t.dists[i].n == 0 {
			continue
		}
		n := t.dists[i].n
		for _, p := range []float64{50, 90, 99} {
			at := p / 100 * float64(n+t.bad-1)
			if at <= float64(n-1) && n > 1 {
				values[fmt.Sprintf("adj_effective_latency_p%v", p)] = t.dists[i].Percentile(100 * at / float64(n-1))
			}
		}
	}
}

// Title is a figure's name for people.
func Title(tag string) string {
	if d := definition(tag); d != nil {
		return d.Header
	}
	words := strings.Split(tag, "_")
	for i, w := range words {
		switch w {
		case "gpu", "kv":
			words[i] = strings.ToUpper(w)
		default:
			if r := []rune(w); len(r) > 0 {
				r[0] = unicode.ToUpper(r[0])
				words[i] = string(r)
			}
		}
	}
	return strings.Join(words, " ")
}

// LargerIsBetter reports whether more of a figure is better.
func LargerIsBetter(tag string) bool {
	d := definition(tag)
	return d != nil && d.Larger
}

// definition finds a figure, of requests or of the run.
func definition(tag string) *Definition {
	for _, list := range [][]Definition{perRequest, ofRun, ofTime} {
		for i := range list {
			if list[i].Tag == tag {
				return &list[i]
			}
		}
	}
	if tag == chunkGaps.Tag {
		return &chunkGaps
	}
	return nil
}

// Order lists the tags of all figures that are defined, as a page has them.
func Order() []string {
	var out []string
	for _, list := range [][]Definition{perRequest, {chunkGaps}, ofRun, ofTime} {
		for i := range list {
			out = append(out, list[i].Tag)
		}
	}
	return out
}

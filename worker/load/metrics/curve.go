package metrics

import (
	"cmp"
	"math"
	"slices"
)

// A point is what the curves over time need of one request.
type point struct {
	start, first, end int64
	input, output     float64
}

// curves computes concurrency, throughput and tokens in flight as step
// functions over [from, to], failed requests included. Between its start and
// its first chunk a request is in prefill and moves input/(first−start)
// tokens a second; from then to its end it is in decode.
func curves(points []point, from, to int64) map[string]*Stats {
	if to <= from || len(points) == 0 {
		return nil
	}
	var all, prefill, decode, inflight, prefillRate, decodeRate steps
	for _, p := range points {
		split := p.first
		if split <= p.start || split > p.end {
			split = p.end // nothing came: the whole request was prefill
		}
		all.add(p.start, p.end, 1)
		prefill.add(p.start, split, 1)
		decode.add(split, p.end, 1)
		inflight.add(p.start, split, p.input)
		inflight.add(split, p.end, p.input+p.output)
		if p.first > p.start && p.first <= p.end {
			prefillRate.add(p.start, split, p.input/(float64(split-p.start)/nsPerS))
		}
		if p.end > split {
			decodeRate.add(split, p.end, p.output/(float64(p.end-split)/nsPerS))
		}
	}
	concurrency := all.segments(from, to)
	prefilling, decoding := prefill.segments(from, to), decode.segments(from, to)
	prefillTokens, decodeTokens := prefillRate.segments(from, to), decodeRate.segments(from, to)
	total := append(append(steps{}, prefillRate...), decodeRate...).segments(from, to)
	out := map[string]*Stats{
		"effective_concurrency":                 weigh(concurrency),
		"effective_prefill_concurrency":         weigh(prefilling),
		"effective_decode_concurrency":          weigh(decoding),
		"effective_prefill_throughput":          weigh(prefillTokens),
		"effective_decode_throughput":           weigh(decodeTokens),
		"effective_total_throughput":            weigh(total),
		"tokens_in_flight":                      weigh(inflight.segments(from, to)),
		"active_concurrency":                    weigh(positive(concurrency)),
		"active_prefill_concurrency":            weigh(positive(prefilling)),
		"active_decode_concurrency":             weigh(positive(decoding)),
		"effective_prefill_throughput_per_user": weigh(quotient(&prefillRate, &prefill, from, to)),
		"effective_decode_throughput_per_user":  weigh(quotient(&decodeRate, &decode, from, to)),
	}
	for tag, s := range out {
		if s == nil {
			delete(out, tag)
		}
	}
	return out
}

// CurveUnit is the unit of a figure over time.
func CurveUnit(tag string) string {
	switch tag {
	case "tokens_in_flight":
		return "tokens"
	case "effective_prefill_throughput_per_user", "effective_decode_throughput_per_user":
		return "tokens/sec/user"
	case "effective_prefill_throughput", "effective_decode_throughput", "effective_total_throughput":
		return "tokens/sec"
	}
	return "requests"
}

type step struct {
	at    int64
	delta float64
}

type steps []step

func (s *steps) add(from, to int64, height float64) {
	if to > from && height != 0 {
		*s = append(*s, step{from, height}, step{to, -height})
	}
}

// A segment is a stretch of time at one height.
type segment struct {
	width  float64 // ns
	height float64
}

// segments cuts the sum of all steps into stretches inside [from, to].
func (s steps) segments(from, to int64) []segment {
	slices.SortFunc(s, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	var out []segment
	var height float64
	var open int
	at := from
	for _, e := range s {
		if x := min(max(e.at, from), to); x > at {
			out = append(out, segment{float64(x - at), clean(height, open)})
			at = x
		}
		height += e.delta
		if e.delta > 0 {
			open++
		} else {
			open--
		}
	}
	if to > at {
		out = append(out, segment{float64(to - at), clean(height, open)})
	}
	return out
}

// clean gives back the zero that rounding took: nothing open means no height.
func clean(height float64, open int) float64 {
	if open == 0 {
		return 0
	}
	return height
}

func positive(in []segment) []segment {
	var out []segment
	for _, s := range in {
		if s.height > 0 {
			out = append(out, s)
		}
	}
	return out
}

// quotient is a ÷ b over the time in which b is above zero.
func quotient(a, b *steps, from, to int64) []segment {
	type both struct {
		at     int64
		da, db float64
	}
	var all []both
	for _, s := range *a {
		all = append(all, both{at: s.at, da: s.delta})
	}
	for _, s := range *b {
		all = append(all, both{at: s.at, db: s.delta})
	}
	slices.SortFunc(all, func(a, b both) int { return cmp.Compare(a.at, b.at) })
	var out []segment
	var ha, hb float64
	at := from
	for _, e := range all {
		if x := min(max(e.at, from), to); x > at {
			if hb > 0.5 {
				out = append(out, segment{float64(x - at), max(ha, 0) / hb})
			}
			at = x
		}
		ha += e.da
		hb += e.db
	}
	return out
}

// weigh sums segments up, each counting for its length: the percentile p is
// the least height that holds for at least p percent of the time.
func weigh(in []segment) *Stats {
	if len(in) == 0 {
		return nil
	}
	byHeight := append([]segment{}, in...)
	slices.SortFunc(byHeight, func(a, b segment) int { return cmp.Compare(a.height, b.height) })
	var width, mean, square float64
	for _, s := range byHeight {
		width += s.width
		mean += s.width * s.height
	}
	mean /= width
	for _, s := range byHeight {
		square += s.width * (s.height - mean) * (s.height - mean)
	}
	at := func(p float64) float64 {
		var sum float64
		for _, s := range byHeight {
			if sum += s.width; sum >= p/100*width {
				return s.height
			}
		}
		return byHeight[len(byHeight)-1].height
	}
	return &Stats{
		Avg: mean, Min: byHeight[0].height, Max: byHeight[len(byHeight)-1].height,
		Std: math.Sqrt(square / width), Sum: mean * width / nsPerS, Count: len(in),
		P1: at(1), P5: at(5), P10: at(10), P25: at(25), P50: at(50),
		P75: at(75), P90: at(90), P95: at(95), P99: at(99),
	}
}

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
	o := ordered(points)
	one := func(*point) float64 { return 1 }
	input := func(p *point) float64 { return p.input }
	output := func(p *point) float64 { return p.output }
	all := o.steps(atStart, atEnd, one)
	prefill, decode := o.steps(atStart, atSplit, one), o.steps(atSplit, atEnd, one)
	inflight := merge(o.steps(atStart, atEnd, input), o.steps(atSplit, atEnd, output))
	prefillRate := o.steps(atStart, atSplit, func(p *point) float64 {
		if !p.came() {
			return 0 // nothing came: no prefill was finished
		}
		return p.input / (float64(p.first-p.start) / nsPerS)
	})
	decodeRate := o.steps(atSplit, atEnd, func(p *point) float64 { return p.output / (float64(p.end-p.split()) / nsPerS) })
	concurrency := all.segments(from, to)
	prefilling, decoding := prefill.segments(from, to), decode.segments(from, to)
	prefillTokens, decodeTokens := prefillRate.segments(from, to), decodeRate.segments(from, to)
	total := merge(prefillRate, decodeRate).segments(from, to)
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
		"effective_prefill_throughput_per_user": weigh(quotient(prefillRate, prefill, from, to)),
		"effective_decode_throughput_per_user":  weigh(quotient(decodeRate, decode, from, to)),
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

// steps are in the order of their instants.
type steps []step

// An edge is an instant of every request: its start, the split between prefill
// and decode, or its end.
type edge int

const (
	atStart edge = iota
	atSplit
	atEnd
)

// came says that a first chunk came.
func (p *point) came() bool { return p.first > p.start && p.first <= p.end }

// split is when decode began; without a first chunk the whole request was
// prefill.
func (p *point) split() int64 {
	if p.came() {
		return p.first
	}
	return p.end
}

func (p *point) at(e edge) int64 {
	switch e {
	case atStart:
		return p.start
	case atSplit:
		return p.split()
	}
	return p.end
}

// order holds the requests in the order of each edge, so that curves are made
// by merging instead of sorting anew.
type order [3][]*point

func ordered(points []point) order {
	var o order
	for e := range o {
		o[e] = make([]*point, len(points))
		for i := range points {
			o[e][i] = &points[i]
		}
		slices.SortFunc(o[e], func(a, b *point) int { return cmp.Compare(a.at(edge(e)), b.at(edge(e))) })
	}
	return o
}

// steps gives every request a height between two of its edges.
func (o *order) steps(from, to edge, height func(*point) float64) steps {
	up, down := make(steps, 0, len(o[from])), make(steps, 0, len(o[to]))
	for _, p := range o[from] {
		if h := height(p); p.at(to) > p.at(from) && h != 0 {
			up = append(up, step{p.at(from), h})
		}
	}
	for _, p := range o[to] {
		if h := height(p); p.at(to) > p.at(from) && h != 0 {
			down = append(down, step{p.at(to), -h})
		}
	}
	return merge(up, down)
}

// merge keeps the order of two lists.
func merge(a, b steps) steps {
	out := make(steps, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].at <= b[0].at {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// A segment is a stretch of time at one height.
type segment struct {
	width  float64 // ns
	height float64
}

// segments cuts the sum of all steps into stretches inside [from, to].
func (s steps) segments(from, to int64) []segment {
	out := make([]segment, 0, len(s)+1)
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
func quotient(a, b steps, from, to int64) []segment {
	var out []segment
	var ha, hb float64
	at := from
	for len(a)+len(b) > 0 {
		isA := len(b) == 0 || len(a) > 0 && a[0].at <= b[0].at
		var e step
		if isA {
			e, a = a[0], a[1:]
		} else {
			e, b = b[0], b[1:]
		}
		if x := min(max(e.at, from), to); x > at {
			if hb > 0.5 {
				out = append(out, segment{float64(x - at), max(ha, 0) / hb})
			}
			at = x
		}
		if isA {
			ha += e.delta
		} else {
			hb += e.delta
		}
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

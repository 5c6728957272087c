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
	failed, streamed  bool
}

// ofTime lists the figures over time. Effective ones are over the whole run,
// idle time included, active ones over the time in which requests were in the
// phase that they speak of.
var ofTime = []Definition{
	{Tag: TagConcurrency, Header: "Effective Concurrency", Unit: "requests"},
	{Tag: "effective_prefill_concurrency", Header: "Effective Prefill Concurrency", Unit: "requests"},
	{Tag: "effective_decode_concurrency", Header: "Effective Decode Concurrency", Unit: "requests"},
	{Tag: "effective_prefill_throughput", Header: "Effective Prefill Throughput", Unit: "tokens/sec", Larger: true},
	{Tag: "effective_decode_throughput", Header: "Effective Decode Throughput", Unit: "tokens/sec", Larger: true},
	{Tag: "effective_total_throughput", Header: "Effective Total Throughput", Unit: "tokens/sec", Larger: true},
	{Tag: "effective_prefill_throughput_per_user", Header: "Effective Prefill Throughput Per User", Unit: "tokens/sec/user", Larger: true},
	{Tag: "effective_decode_throughput_per_user", Header: "Effective Decode Throughput Per User", Unit: "tokens/sec/user", Larger: true},
	{Tag: "effective_total_throughput_per_user", Header: "Effective Total Throughput Per User", Unit: "tokens/sec/user", Larger: true},
	{Tag: TagTokensInFlight, Header: "Tokens in Flight", Unit: "tokens"},
	{Tag: "active_concurrency", Header: "Active Concurrency", Unit: "requests"},
	{Tag: "active_prefill_concurrency", Header: "Active Prefill Concurrency", Unit: "requests"},
	{Tag: "active_decode_concurrency", Header: "Active Decode Concurrency", Unit: "requests"},
	{Tag: "active_prefill_throughput", Header: "Active Prefill Throughput", Unit: "tokens/sec", Larger: true},
	{Tag: "active_decode_throughput", Header: "Active Decode Throughput", Unit: "tokens/sec", Larger: true},
	{Tag: "active_total_throughput", Header: "Active Total Throughput", Unit: "tokens/sec", Larger: true},
	{Tag: "active_prefill_throughput_per_user", Header: "Active Prefill Throughput Per User", Unit: "tokens/sec/user", Larger: true},
	{Tag: "active_decode_throughput_per_user", Header: "Active Decode Throughput Per User", Unit: "tokens/sec/user", Larger: true},
	{Tag: "active_total_throughput_per_user", Header: "Active Total Throughput Per User", Unit: "tokens/sec/user", Larger: true},
	{Tag: "active_tokens_in_flight", Header: "Active Tokens in Flight", Unit: "tokens"},
}

// curves computes concurrency, throughput and tokens in flight as step
// functions over [from, to], failed requests included. Between its start and
// its first chunk a request is in prefill and moves input/(first−start)
// tokens a second; from then to its end it is in decode.
func curves(points []point, from, to int64) []Metric {
	if to <= from || len(points) == 0 {
		return nil
	}
	o := ordered(points)
	one := func(*point) float64 { return 1 }
	input := func(p *point) float64 { return p.input }
	output := func(p *point) float64 { return p.output }
	prefillRate := o.steps(atStart, atSplit, func(p *point) float64 {
		if !p.came() {
			return 0 // nothing came: no prefill was finished
		}
		return p.input / (float64(p.first-p.start) / nsPerS)
	})
	decodeRate := o.steps(atSplit, atEnd, func(p *point) float64 { return p.output / (float64(p.end-p.split()) / nsPerS) })
	out := map[string][]segment{}
	for _, phase := range []struct {
		concurrency, throughput string // the tags without effective_ or active_
		users, rate             steps
	}{
		{"concurrency", "total_throughput", o.steps(atStart, atEnd, one), merge(prefillRate, decodeRate)},
		{"prefill_concurrency", "prefill_throughput", o.steps(atStart, atSplit, one), prefillRate},
		{"decode_concurrency", "decode_throughput", o.steps(atSplit, atEnd, one), decodeRate},
	} {
		for tag, curve := range map[string]steps{phase.concurrency: phase.users, phase.throughput: phase.rate} {
			out["effective_"+tag] = curve.segments(from, to)
			out["active_"+tag] = curve.during(phase.users, from, to)
		}
		each := quotient(phase.rate, phase.users, from, to)
		out["active_"+phase.throughput+"_per_user"] = each
		out["effective_"+phase.throughput+"_per_user"] = fill(each, from, to)
		if phase.concurrency == "concurrency" {
			tokens := merge(o.steps(atStart, atEnd, input), o.steps(atSplit, atEnd, output))
			out[TagTokensInFlight] = tokens.segments(from, to)
			out["active_"+TagTokensInFlight] = tokens.during(phase.users, from, to)
		}
	}
	var list []Metric
	for i := range ofTime {
		d := &ofTime[i]
		if s := weigh(out[d.Tag]); s != nil {
			list = append(list, Metric{Tag: d.Tag, Header: d.Header, Unit: d.Unit, Stats: *s})
		}
	}
	return list
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

// during is the curve over the time in which another is above zero.
func (s steps) during(other steps, from, to int64) []segment {
	return together(s, other, from, to, func(height, other float64) (float64, bool) { return height, other > 0.5 })
}

// quotient is a ÷ b over the time in which b is above zero.
func quotient(a, b steps, from, to int64) []segment {
	return together(a, b, from, to, func(a, b float64) (float64, bool) { return a / b, b > 0.5 })
}

// together walks two curves side by side. Of what the heights make, the
// stretches that count are kept; b is of whole numbers.
func together(a, b steps, from, to int64, of func(a, b float64) (float64, bool)) []segment {
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
			if height, counts := of(max(ha, 0), hb); counts {
				out = append(out, segment{float64(x - at), height})
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

// fill adds the time that segments leave out, at no height.
func fill(in []segment, from, to int64) []segment {
	rest := float64(to - from)
	for _, s := range in {
		rest -= s.width
	}
	if rest <= 0 {
		return in
	}
	return append(in[:len(in):len(in)], segment{rest, 0})
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

package metrics

import (
	"encoding/json"
	"math"
)

// Series is what a run did over time, from its first start on. All lists have
// one sample for every interval.
type Series struct {
	// Interval between samples, in s.
	Interval float64 `json:"interval_s"`
	// Requests that ended well, and failures, per second.
	Requests Values `json:"requests_per_s"`
	Failures Values `json:"failures_per_s"`
	// Tokens of replies per second, each reply's spread over the time from its
	// first token to its end.
	Tokens Values `json:"output_tokens_per_s"`
	// Concurrency are the requests in flight, Prefill those of them that wait
	// for their first token, InFlight the tokens of their prompts and replies.
	Concurrency Values `json:"concurrency"`
	Prefill     Values `json:"prefill_concurrency"`
	InFlight    Values `json:"tokens_in_flight"`
	// Of the requests that started in an interval: time to first token where
	// replies stream, and time to their end.
	TTFTp50    Values `json:"ttft_p50_ms"`
	TTFTp99    Values `json:"ttft_p99_ms"`
	LatencyP50 Values `json:"latency_p50_ms"`
	LatencyP99 Values `json:"latency_p99_ms"`
}

// Values are a figure over time; NaN, as JSON null, where there is none.
type Values []float64

// MarshalJSON writes null for NaN.
func (s Values) MarshalJSON() ([]byte, error) {
	out := make([]*float64, len(s))
	for i := range s {
		if !math.IsNaN(s[i]) {
			out[i] = &s[i]
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads null as NaN.
func (s *Values) UnmarshalJSON(data []byte) error {
	var in []*float64
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*s = make(Values, len(in))
	for i, x := range in {
		if (*s)[i] = math.NaN(); x != nil {
			(*s)[i] = *x
		}
	}
	return nil
}

// A series has as many samples as give each of them some requests, within
// bounds.
const (
	leastSamples = 20
	mostSamples  = 240
	perSample    = 5
)

// interval is the least of 0.1, 0.2, 0.5, 1, 2, 5… seconds that cuts a run of
// so many requests into samples that are not too many.
func interval(length int64, requests int) int64 {
	most := int64(min(max(requests/perSample, leastSamples), mostSamples))
	for size := int64(1e8); ; size *= 10 {
		for _, m := range []int64{1, 2, 5} {
			if length/(m*size) < most {
				return m * size
			}
		}
	}
}

func series(points []point, from, to int64) Series {
	width := interval(to-from, len(points))
	n := int((to-from)/width) + 1
	seconds := float64(width) / nsPerS
	empty := func() Values { return make(Values, n) }
	s := Series{Interval: seconds, Requests: empty(), Failures: empty(), Tokens: empty(), Concurrency: empty(), Prefill: empty(), InFlight: empty(),
		TTFTp50: empty(), TTFTp99: empty(), LatencyP50: empty(), LatencyP99: empty()}
	// spread adds a height over a stretch of time, in parts of the intervals.
	spread := func(to Values, start, end int64, height float64) {
		for i := int((start - from) / width); i <= int((end-from)/width); i++ {
			low, high := from+int64(i)*width, from+int64(i+1)*width
			to[i] += height * float64(max(0, min(end, high)-max(start, low))) / float64(width)
		}
	}
	ttft, latency := make([]Distribution, n), make([]Distribution, n)
	for i := range points {
		p := &points[i]
		ended := s.Requests
		if p.failed {
			ended = s.Failures
		}
		ended[int((p.end-from)/width)] += 1 / seconds
		spread(s.Concurrency, p.start, p.end, 1)
		spread(s.Prefill, p.start, p.split(), 1)
		spread(s.InFlight, p.start, p.end, p.input)
		if p.came() {
			spread(s.InFlight, p.first, p.end, p.output)
		}
		if length := p.end - p.split(); length > 0 {
			spread(s.Tokens, p.split(), p.end, p.output/(float64(length)/nsPerS))
		} else {
			s.Tokens[int((p.end-from)/width)] += p.output / seconds
		}
		if p.failed {
			continue
		}
		started := int((p.start - from) / width)
		latency[started].Add(ms(p.end - p.start))
		if p.streamed && p.came() {
			ttft[started].Add(ms(p.first - p.start))
		}
	}
	for i := range n {
		s.TTFTp50[i], s.TTFTp99[i] = ttft[i].Percentile(50), ttft[i].Percentile(99)
		s.LatencyP50[i], s.LatencyP99[i] = latency[i].Percentile(50), latency[i].Percentile(99)
	}
	return s
}

// recent keeps the last requests for the live view.
type recent struct {
	done, failed int
	tokens       int
	ttft, lag    [recentSize]float64
	latency      [recentSize]float64
	next, filled int
}

const recentSize = 512

func (l *recent) add(r *Record) {
	if r.Err != nil && r.Err.Class == ErrStopped {
		return
	}
	if !r.Valid() {
		l.failed++
		return
	}
	l.done++
	l.tokens += max(r.OutputTokens(), 0)
	l.ttft[l.next] = ttft(r)
	l.latency[l.next] = ms(r.LastChunk() - r.Start)
	l.lag[l.next] = ms(r.Start - r.scheduled())
	l.next = (l.next + 1) % recentSize
	l.filled = min(l.filled+1, recentSize)
}

// Live is where a run stands. Percentiles are of the last requests, NaN where
// there are none.
type Live struct {
	Done, Failed, Tokens   int
	Errors                 []ErrorCount // most frequent first
	TTFTp50, TTFTp99       float64      // ms
	LatencyP50, LatencyP99 float64      // ms
	LagP99                 float64      // ms
}

// Live returns where the run stands.
func (c *Collector) Live() Live {
	c.mu.Lock()
	l, errs := c.recent, c.errorCounts()
	c.mu.Unlock()
	of := func(x []float64, p float64) float64 {
		var d Distribution
		for _, v := range x[:l.filled] {
			d.Add(v)
		}
		return d.Percentile(p)
	}
	return Live{
		Done: l.done, Failed: l.failed, Tokens: l.tokens, Errors: errs,
		TTFTp50: of(l.ttft[:], 50), TTFTp99: of(l.ttft[:], 99),
		LatencyP50: of(l.latency[:], 50), LatencyP99: of(l.latency[:], 99),
		LagP99: of(l.lag[:], 99),
	}
}

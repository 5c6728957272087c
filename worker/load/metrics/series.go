package metrics

import (
	"strings"
	"unicode"
)

// Series holds one sample a second, from the run's first start on.
type Series struct {
	Requests    []float64 `json:"requests_per_s"`
	Tokens      []float64 `json:"output_tokens_per_s"`
	Concurrency []float64 `json:"concurrency"`
	TTFT        []float64 `json:"ttft_ms"` // mean of the requests that started then; 0 without
}

// maxSeries bounds the samples of a series; longer runs get wider samples.
const maxSeries = 600

func series(points []point, from, to int64) Series {
	width := int64(nsPerS)
	for (to-from)/width >= maxSeries {
		width *= 2
	}
	n := int((to-from)/width) + 1
	s := Series{Requests: make([]float64, n), Tokens: make([]float64, n), Concurrency: make([]float64, n), TTFT: make([]float64, n)}
	started := make([]float64, n)
	seconds := float64(width) / nsPerS
	for _, p := range points {
		first, last := int((p.start-from)/width), int((p.end-from)/width)
		s.Requests[last] += 1 / seconds
		s.Tokens[last] += p.output / seconds
		if p.first > 0 {
			s.TTFT[first] += ms(p.first - p.start)
			started[first]++
		}
		for i := first; i <= last; i++ {
			low, high := from+int64(i)*width, from+int64(i+1)*width
			s.Concurrency[i] += float64(min(p.end, high)-max(p.start, low)) / float64(width)
		}
	}
	for i := range started {
		if started[i] > 0 {
			s.TTFT[i] /= started[i]
		}
	}
	return s
}

// header makes a title of a tag.
func header(tag string) string {
	words := strings.Split(tag, "_")
	for i, w := range words {
		switch w {
		case "isl", "osl":
			words[i] = strings.ToUpper(w)
		default:
			r := []rune(w)
			if len(r) > 0 {
				r[0] = unicode.ToUpper(r[0])
			}
			words[i] = string(r)
		}
	}
	return strings.Join(words, " ")
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
	l.ttft[l.next] = ms(r.FirstChunk() - r.Start)
	l.latency[l.next] = ms(r.LastChunk() - r.Start)
	l.lag[l.next] = ms(r.Start - r.scheduled())
	l.next = (l.next + 1) % recentSize
	l.filled = min(l.filled+1, recentSize)
}

// Live is where a run stands. Percentiles are of the last requests.
type Live struct {
	Done, Failed, Tokens   int
	TTFTp50, TTFTp99       float64 // ms
	LatencyP50, LatencyP99 float64 // ms
	LagP99                 float64 // ms
}

// Live returns where the run stands.
func (c *Collector) Live() Live {
	c.mu.Lock()
	l := c.recent
	c.mu.Unlock()
	of := func(x []float64, p float64) float64 {
		var d Distribution
		for _, v := range x[:l.filled] {
			d.Add(v)
		}
		if d.n == 0 {
			return 0
		}
		return d.Percentile(p)
	}
	return Live{
		Done: l.done, Failed: l.failed, Tokens: l.tokens,
		TTFTp50: of(l.ttft[:], 50), TTFTp99: of(l.ttft[:], 99),
		LatencyP50: of(l.latency[:], 50), LatencyP99: of(l.latency[:], 99),
		LagP99: of(l.lag[:], 99),
	}
}

package metrics

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// SketchError is the relative error of a sketch's percentiles: three
// significant digits.
const SketchError = 1e-3

const (
	sketchScale = 1e6 // values are kept to a millionth of their unit
	sketchMax   = 1 << 52
)

// A sketch counts samples in buckets whose width grows with the value.
type sketch struct {
	above, below *hdrhistogram.Histogram // below is of what is less than 0, without its sign; either may be nil
}

// bucket is a sample as a sketch takes it.
func bucket(x float64) int64 {
	return int64(math.Min(math.Max(math.Round(x*sketchScale), -sketchMax), sketchMax))
}

// record takes a value n times.
func (s *sketch) record(value, n int64) {
	to := &s.above
	if value < 0 {
		to, value = &s.below, -value
	}
	if *to == nil {
		*to = hdrhistogram.New(1, sketchMax, 3)
	}
	_ = (*to).RecordValues(value, n) // cannot fail: it is in range
}

func (s *sketch) merge(o *sketch) {
	o.each(s.record)
}

// each calls f for every bucket that holds samples.
func (s *sketch) each(f func(value, n int64)) {
	if s.below != nil {
		for _, b := range s.below.Distribution() {
			if b.Count > 0 {
				f(-b.From, b.Count)
			}
		}
	}
	if s.above != nil {
		for _, b := range s.above.Distribution() {
			if b.Count > 0 {
				f(b.From, b.Count)
			}
		}
	}
}

// percentile is the sample at a rank, by its bucket.
func (s *sketch) percentile(p float64, count int) float64 {
	rank := max(1, int64(p/100*float64(count)+0.5))
	if s.below != nil {
		n := s.below.TotalCount()
		if rank <= n {
			return -float64(s.below.ValueAtQuantile(100*float64(n-rank+1)/float64(n))) / sketchScale
		}
		rank -= n
	}
	if s.above == nil {
		return 0
	}
	return float64(s.above.ValueAtQuantile(100*float64(rank)/float64(s.above.TotalCount()))) / sketchScale
}

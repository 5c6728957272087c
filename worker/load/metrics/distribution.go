package metrics

import (
	"math"
	"sort"
)

// ExactLimit is how many samples a distribution keeps one by one. Beyond it
// the samples move to a sketch whose percentiles are within SketchError.
const ExactLimit = 1 << 20

// A Distribution sums up samples. Its zero value is empty and ready.
type Distribution struct {
	limit   int
	samples []float64
	sorted  bool
	sketch  *sketch // nil while samples are kept one by one

	n           int
	sum         float64
	mean, m2    float64 // Welford's running mean and squared distance
	least, most float64
}

// Add takes one sample; NaN and infinities are left out.
func (d *Distribution) Add(x float64) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return
	}
	if d.n == 0 || x < d.least {
		d.least = x
	}
	if d.n == 0 || x > d.most {
		d.most = x
	}
	d.n++
	d.sum += x
	delta := x - d.mean
	d.mean += delta / float64(d.n)
	d.m2 += delta * (x - d.mean)
	if d.sketch != nil {
		d.sketch.record(bucket(x), 1)
		return
	}
	d.samples = append(d.samples, x)
	d.sorted = false
	if len(d.samples) > d.exactLimit() {
		d.spill()
	}
}

// Merge takes all samples of another distribution.
func (d *Distribution) Merge(o *Distribution) {
	if o.n == 0 {
		return
	}
	if o.sketch == nil {
		for _, x := range o.samples {
			d.Add(x)
		}
		return
	}
	if d.sketch == nil {
		d.spill()
	}
	d.sketch.merge(o.sketch)
	if d.n == 0 || o.least < d.least {
		d.least = o.least
	}
	if d.n == 0 || o.most > d.most {
		d.most = o.most
	}
	// Chan, Golub and LeVeque (1979): means and squares of two parts.
	delta, n := o.mean-d.mean, float64(d.n+o.n)
	d.m2 += o.m2 + delta*delta*float64(d.n)*float64(o.n)/n
	d.mean += delta * float64(o.n) / n
	d.n += o.n
	d.sum += o.sum
}

// Exact reports whether percentiles come from the samples themselves.
func (d *Distribution) Exact() bool { return d.sketch == nil }

// Count is the number of samples.
func (d *Distribution) Count() int { return d.n }

func (d *Distribution) exactLimit() int {
	if d.limit > 0 {
		return d.limit
	}
	return ExactLimit
}

func (d *Distribution) spill() {
	d.sketch = sketched(d.samples)
	d.samples = nil
}

func sketched(samples []float64) *sketch {
	s := &sketch{}
	for _, x := range samples {
		s.record(bucket(x), 1)
	}
	return s
}

// Percentile interpolates linearly between the two nearest samples, as
// numpy's default does; p is in [0, 100]. NaN without samples.
func (d *Distribution) Percentile(p float64) float64 {
	switch {
	case d.n == 0:
		return math.NaN()
	case d.sketch != nil:
		return math.Min(math.Max(d.sketch.percentile(p, d.n), d.least), d.most)
	}
	if !d.sorted {
		sort.Float64s(d.samples)
		d.sorted = true
	}
	at := p / 100 * float64(d.n-1)
	low := int(math.Floor(at))
	if low >= d.n-1 {
		return d.samples[d.n-1]
	}
	part := at - float64(low)
	return d.samples[low] + part*(d.samples[low+1]-d.samples[low])
}

// Stats are the figures of a distribution.
type Stats struct {
	Avg   float64 `json:"avg"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	Sum   float64 `json:"sum"`
	Std   float64 `json:"std"` // of the population
	Count int     `json:"count"`
	P1    float64 `json:"p1"`
	P5    float64 `json:"p5"`
	P10   float64 `json:"p10"`
	P25   float64 `json:"p25"`
	P50   float64 `json:"p50"`
	P75   float64 `json:"p75"`
	P90   float64 `json:"p90"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	// Approximate is set when percentiles come from a sketch.
	Approximate bool `json:"approximate,omitempty"`
}

// Stats sums the distribution up; nil without samples.
func (d *Distribution) Stats() *Stats {
	if d.n == 0 {
		return nil
	}
	return &Stats{
		Avg: d.mean, Min: d.least, Max: d.most, Sum: d.sum, Count: d.n,
		Std: math.Sqrt(d.m2 / float64(d.n)),
		P1:  d.Percentile(1), P5: d.Percentile(5), P10: d.Percentile(10), P25: d.Percentile(25),
		P50: d.Percentile(50), P75: d.Percentile(75), P90: d.Percentile(90), P95: d.Percentile(95),
		P99: d.Percentile(99), Approximate: !d.Exact(),
	}
}

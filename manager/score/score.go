// Package score turns measurements into numbers that can be compared: one
// score per objective, the incumbent among them, and whether a candidate beats
// the baseline beyond the noise.
package score

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/fleetune/fleetune/proto/experiment"
	"github.com/fleetune/fleetune/proto/task"
)

// Scores derives one number per objective: the median of its metric, in the
// metric's own unit. ok is false when a metric is missing or not finite.
func Scores(objectives []task.Objective, m *experiment.Measurement) (scores []float64, ok bool) {
	if m == nil {
		return nil, false
	}
	for _, o := range objectives {
		metric, found := m.Metrics[o.Metric]
		if !found || math.IsNaN(metric.Median) || math.IsInf(metric.Median, 0) {
			return nil, false
		}
		scores = append(scores, metric.Median)
	}
	return scores, true
}

// Better says whether a beats b; equal numbers do not beat each other.
func Better(direction task.Direction, a, b float64) bool {
	if direction == task.Maximize {
		return a > b
	}
	return a < b
}

// A Comparison says how much better a candidate is than the baseline.
type Comparison struct {
	// Ratio above 1 is better, whatever the direction: baseline/candidate when
	// less is better, candidate/baseline otherwise; of the medians.
	Ratio float64 `json:"ratio"`
	// Low and High bound the ratio at the given confidence.
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"`
	// Significant says that the whole interval lies above 1.
	Significant bool `json:"significant"`
}

// The interval is the percentile bootstrap of the ratio of medians (Efron and
// Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13). Its resamples
// come from a fixed seed: the same samples give the same interval.
const (
	resamples  = 2000
	confidence = 0.95
)

// Compare compares samples of a candidate with the baseline's, taken in
// alternation. ok is false when either has no positive, finite median.
func Compare(direction task.Direction, candidate, baseline []float64) (c Comparison, ok bool) {
	ratio, ok := ratioOf(direction, Median(candidate), Median(baseline))
	if !ok {
		return Comparison{}, false
	}
	source := rand.New(rand.NewPCG(uint64(len(candidate)), uint64(len(baseline))))
	ratios := make([]float64, 0, resamples)
	a, b := make([]float64, len(candidate)), make([]float64, len(baseline))
	for range resamples {
		resample(source, a, candidate)
		resample(source, b, baseline)
		if r, ok := ratioOf(direction, Median(a), Median(b)); ok {
			ratios = append(ratios, r)
		}
	}
	slices.Sort(ratios)
	low := quantile(ratios, (1-confidence)/2)
	high := quantile(ratios, (1+confidence)/2)
	// One sample a side resamples to itself: an interval of no width that
	// would claim certainty where there is none.
	significant := low > 1 && len(candidate) > 2 && len(baseline) > 2
	return Comparison{Ratio: ratio, Low: low, High: high, Confidence: confidence, Significant: significant}, true
}

func ratioOf(direction task.Direction, candidate, baseline float64) (float64, bool) {
	ratio := baseline / candidate
	if direction == task.Maximize {
		ratio = candidate / baseline
	}
	return ratio, candidate > 0 && baseline > 0 && !math.IsInf(ratio, 0)
}

func resample(source *rand.Rand, into, from []float64) {
	for i := range into {
		into[i] = from[source.IntN(len(from))]
	}
}

// Median of values, which stay as they are; NaN when there are none.
func Median(values []float64) float64 {
	return quantile(slices.Sorted(slices.Values(values)), 0.5)
}

// quantile interpolates linearly between the sorted values' order statistics
// (Hyndman and Fan, 1996, type 7).
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	position := q * float64(len(sorted)-1)
	below := int(position)
	if below+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[below] + (position-float64(below))*(sorted[below+1]-sorted[below])
}

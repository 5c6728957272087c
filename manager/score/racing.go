package score

import (
	"math"

	"github.com/fleetune/fleetune/proto/task"
	"gonum.org/v1/gonum/stat/distuv"
)

// An Estimate is a score that was measured, with what is known of its
// certainty.
type Estimate struct {
	Median float64
	// Spread is the interquartile range of Count samples.
	Spread float64
	Count  int
}

// leastSpread is what a clock may hide of the deviation between samples, in
// parts of their mean: samples that are equal are not samples without noise.
const leastSpread = 0.005

// SurelyWorse says whether the first samples of an experiment prove, at a
// confidence, that it is worse than a rival. It may be asked again with every
// further sample, up to which the confidence holds for all answers together:
// the k-th look, at least+k-1 samples, may err with (1-confidence)/(k(k+1)),
// which sums up to 1-confidence. Fewer than least samples prove nothing.
//
// A look is a one-sided t-test between the samples' mean, or their median where
// that is closer to the rival, and the rival's median, whose deviation is that
// of a normal distribution with its interquartile range. Its degrees of freedom
// are those of the smaller side: Welch's are too many where three samples
// happen to lie close together.
func SurelyWorse(direction task.Direction, samples []float64, rival Estimate, least int, confidence float64) bool {
	n := len(samples)
	if n < max(least, 2) {
		return false
	}
	mean, variance := moments(samples)
	apart := min(gap(direction, mean, rival.Median), gap(direction, Median(samples), rival.Median))
	floor := leastSpread * math.Abs(mean)
	own := max(variance, floor*floor) / float64(n)
	theirs := rivalVariance(rival)
	if !(apart > 0) || math.IsInf(apart, 0) || !(own > 0) {
		return false
	}
	look := float64(n - max(least, 2) + 1)
	freedom := float64(n - 1)
	if theirs > 0 {
		freedom = min(freedom, float64(rival.Count-1))
	}
	chance := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Survival(apart / math.Sqrt(own+theirs))
	return chance < (1-confidence)/(look*(look+1))
}

// gap is how much worse a is than b; negative when it is better.
func gap(direction task.Direction, a, b float64) float64 {
	if direction == task.Maximize {
		return b - a
	}
	return a - b
}

func moments(samples []float64) (mean, variance float64) {
	for _, v := range samples {
		mean += v / float64(len(samples))
	}
	for _, v := range samples {
		variance += (v - mean) * (v - mean) / float64(len(samples)-1)
	}
	return mean, variance
}

// rivalVariance is the square of the standard error of a median: 1.2533 times
// that of the mean, with the deviation that a normal distribution of this
// interquartile range has, a part 1.349 of it.
func rivalVariance(rival Estimate) float64 {
	if rival.Count < 2 {
		return 0
	}
	deviation := 1.2533 * rival.Spread / 1.349
	return deviation * deviation / float64(rival.Count)
}

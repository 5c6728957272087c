package gp

import (
	"math"
	"math/rand/v2"
)

// draw returns n parameters drawn from their posterior, as logarithms, by
// elliptical slice sampling (Murray, Adams and MacKay, "Elliptical slice
// sampling", 2010): the prior is normal over logarithms, so every step moves
// along an ellipse through the last parameters and a draw of the prior, to where
// the likelihood is above a level. It begins at theta and goes steps steps
// between two draws.
func (f *fitter) draw(theta []float64, n, steps int, rng *rand.Rand) [][]float64 {
	mean, spread := f.start(0), f.spreads()
	likelihood := f.likelihood(theta)
	var out [][]float64
	for range n {
		for range steps {
			through := make([]float64, len(theta))
			for k := range through {
				through[k] = spread[k] * rng.NormFloat64()
			}
			level := likelihood + math.Log(rng.Float64())
			theta, likelihood = f.slice(theta, through, mean, level, likelihood, rng)
		}
		out = append(out, theta)
	}
	return out
}

// shrinks bounds how often a step is shortened; it then stays where it is.
const shrinks = 50

// slice finds parameters on the ellipse whose likelihood is above the level.
func (f *fitter) slice(theta, through, mean []float64, level, likelihood float64, rng *rand.Rand) ([]float64, float64) {
	angle := 2 * math.Pi * rng.Float64()
	low, high := angle-2*math.Pi, angle
	for range shrinks {
		next := make([]float64, len(theta))
		for k := range next {
			next[k] = mean[k] + (theta[k]-mean[k])*math.Cos(angle) + through[k]*math.Sin(angle)
		}
		if l := f.likelihood(next); l > level {
			return next, l
		}
		if angle < 0 {
			low = angle
		} else {
			high = angle
		}
		angle = low + (high-low)*rng.Float64()
	}
	return theta, likelihood
}

// likelihood is the log likelihood without constants, -Inf where there is none.
func (f *fitter) likelihood(theta []float64) float64 {
	e, ok := f.evidence(theta)
	if !ok {
		return math.Inf(-1)
	}
	return -e.cost()
}

// spreads are the prior deviations of the logarithms.
func (f *fitter) spreads() []float64 {
	out := make([]float64, len(f.dims), len(f.dims)+2)
	for k := range out {
		out[k] = lengthSpread
	}
	return append(out, scaleSpread, noiseSpread)
}

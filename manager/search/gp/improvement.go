package gp

import "math"

// logImprovement is the logarithm of the expected improvement below best of a
// normal value, computed so that it stays finite and exact far from best
// (Ament et al., "Unexpected improvements to expected improvement for Bayesian
// optimization", 2023, eq. 9).
func logImprovement(best, mean, deviation float64) float64 {
	z := (best - mean) / deviation
	return logH(z) + math.Log(deviation)
}

var logSqrt2Pi = 0.5 * math.Log(2*math.Pi)

// logH is log(φ(z) + z Φ(z)).
func logH(z float64) float64 {
	switch {
	case z > -1:
		phi := math.Exp(-z*z/2 - logSqrt2Pi)
		return math.Log(phi + z*0.5*math.Erfc(-z/math.Sqrt2))
	case z > -25:
		// z Φ(z)/φ(z) by the scaled complementary error function.
		ratio := math.Sqrt(math.Pi/2) * scaledErfc(-z/math.Sqrt2)
		return -z*z/2 - logSqrt2Pi + math.Log1p(z*ratio)
	default:
		return -z*z/2 - logSqrt2Pi - 2*math.Log(-z)
	}
}

// scaledErfc is exp(x²) erfc(x) for x > 0.
func scaledErfc(x float64) float64 {
	if x < 5 {
		return math.Exp(x*x) * math.Erfc(x)
	}
	// Continued fraction, Abramowitz and Stegun 7.1.14.
	f := x
	for k := 30; k > 0; k-- {
		f = x + float64(k)/2/f
	}
	return 1 / (f * math.Sqrt(math.Pi))
}

// logNormalCDF is log Φ(z).
func logNormalCDF(z float64) float64 {
	if z > -5 {
		return math.Log(0.5 * math.Erfc(-z/math.Sqrt2))
	}
	return -z*z/2 + math.Log(0.5*scaledErfc(-z/math.Sqrt2))
}

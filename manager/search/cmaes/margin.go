package cmaes

import "math"

// margins keeps, on every discrete axis, a probability of at least alpha that a
// point leaves the value the mean is at: half of it to each side, all of it
// where there is one side only. The mean and A give way (Hamano et al.,
// "CMA-ES with margin", 2022, eqs. 11 to 20).
func (r *run) margins() {
	alpha := 1 / (float64(len(r.mean)) * float64(r.population))
	for k := range r.mean {
		a := &r.search.axes[k]
		if !a.discrete() {
			continue
		}
		m, s := r.mean[k], r.deviation(k)
		low, high := a.span(a.coordinate(m))
		switch {
		case math.IsInf(low, -1):
			r.mean[k] = max(m, high-s*quantile(1-alpha))
		case math.IsInf(high, 1):
			r.mean[k] = min(m, low+s*quantile(1-alpha))
		default:
			below, above := normal((low-m)/s), normal((m-high)/s)
			if below >= alpha/2 && above >= alpha/2 {
				continue
			}
			inside := 1 - below - above
			below, above = max(below, alpha/2), max(above, alpha/2)
			surplus := (1 - below - above - inside) / (below + above + inside - 3*alpha/2)
			below += surplus * (below - alpha/2)
			above += surplus * (above - alpha/2)
			left, right := quantile(below), quantile(1-above)
			deviation := (high - low) / (right - left)
			r.mean[k] = low - deviation*left
			r.scale[k] *= deviation / s
		}
	}
}

// normal is the distribution function of the standard normal distribution,
// quantile its inverse.
func normal(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

func quantile(p float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*p) }

// within is the point of the distribution N(mean, deviation²), cut off at low
// and high, below which a share u of it lies.
func within(mean, deviation, low, high, u float64) float64 {
	from, to := normal((low-mean)/deviation), normal((high-mean)/deviation)
	if to-from < 1e-9 { // too far out for numbers
		return min(max(mean, low), high)
	}
	at := mean + deviation*quantile(min(max(from+u*(to-from), 1e-15), 1-1e-15))
	return min(max(at, low), high)
}

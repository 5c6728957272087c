package gp

import (
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
)

// Prior of the parameters, on features in the unit interval and standardised
// values. Length scales are log-normal around a value that grows with the root of
// the number of parameters, long enough that a feature counts for little until
// the data say otherwise (Hvarfner, Hellsten and Nardi, "Vanilla Bayesian optimization
// performs great in high dimensions", 2024); scale and noise are log-normal.
const (
	lengthMean   = 0.3 // for one parameter
	lengthSpread = 1.2
	scaleSpread  = 1.0
	noiseMean    = -6.0
	noiseSpread  = 1.5
	minNoise     = 1e-6
)

// fitter finds the parameters that make the values most likely (maximum a
// posteriori), over logarithms: length scales, then scale, then noise.
type fitter struct {
	dims []dimension
	gaps [][]float64 // squared gaps, by dimension, of all pairs i > j
	y    []float64
	mean []float64 // prior means of the log length scales

	theta []float64 // where cost and slope were last computed
	cost  float64
	slope []float64
}

func newFitter(dims []dimension, rows [][]float64, y []float64) *fitter {
	f := &fitter{dims: dims, y: y, gaps: make([][]float64, len(dims))}
	parameters := 0.0
	for k := range dims {
		if !dims[k].twin {
			parameters++
		}
	}
	for range dims {
		f.mean = append(f.mean, lengthMean+0.5*math.Log(parameters))
	}
	n := len(rows)
	for k := range dims {
		f.gaps[k] = make([]float64, 0, n*(n-1)/2)
		for i := range n {
			for j := range i {
				f.gaps[k] = append(f.gaps[k], dims[k].gap(rows[i][k], rows[j][k]))
			}
		}
	}
	return f
}

// fit returns the parameters, from the better of two fixed starting points.
func (f *fitter) fit(iterations int) params {
	d := len(f.dims)
	best, bestCost := f.start(0), math.Inf(1)
	for _, shift := range []float64{0, -1} {
		if theta := f.start(shift); f.value(theta) < bestCost {
			best, bestCost = theta, f.cost
		}
	}
	result, err := optimize.Minimize(optimize.Problem{Func: f.value, Grad: f.gradient}, best,
		&optimize.Settings{MajorIterations: iterations, FuncEvaluations: 2 * iterations, GradientThreshold: 1e-2,
			Converger: &optimize.FunctionConverge{Absolute: 1e-2, Iterations: 3}}, &optimize.LBFGS{Store: 8})
	// A line search that cannot go on has still found something.
	if result != nil && (err == nil || len(result.X) > 0) && result.F < bestCost {
		best = result.X
	}
	p := params{weights: make([]float64, d), scale: math.Exp(best[d]), noise: minNoise + math.Exp(best[d+1])}
	for k := range d {
		p.weights[k] = math.Exp(-2 * best[k])
	}
	return p
}

func (f *fitter) start(shift float64) []float64 {
	theta := make([]float64, len(f.dims)+2)
	for k := range f.dims {
		theta[k] = f.mean[k] + shift
	}
	theta[len(f.dims)+1] = noiseMean
	return theta
}

func (f *fitter) value(theta []float64) float64 {
	f.compute(theta)
	return f.cost
}

func (f *fitter) gradient(slope, theta []float64) {
	f.compute(theta)
	copy(slope, f.slope)
}

// compute sets cost and slope: the negative log posterior density without
// constants (Rasmussen and Williams, eqs. 5.8 and 5.9).
func (f *fitter) compute(theta []float64) {
	if f.theta != nil && same(f.theta, theta) {
		return
	}
	n, d := len(f.y), len(f.dims)
	f.theta, f.slope = append([]float64(nil), theta...), make([]float64, len(theta))
	f.cost = math.Inf(1)
	for _, t := range theta {
		if math.Abs(t) > 20 || math.IsNaN(t) {
			return
		}
	}
	scale, noise := math.Exp(theta[d]), math.Exp(theta[d+1])
	weights := make([]float64, d)
	for k := range weights {
		weights[k] = math.Exp(-2 * theta[k])
	}
	pairs := n * (n - 1) / 2
	r2 := make([]float64, pairs)
	for k, w := range weights {
		for i, g := range f.gaps[k] {
			r2[i] += w * g
		}
	}
	// fall is minus twice the slope of the correlation by r².
	corr, fall := make([]float64, pairs), make([]float64, pairs)
	for i, r := range r2 {
		s := sqrt5 * math.Sqrt(r)
		e := math.Exp(-s)
		corr[i], fall[i] = (1+s+s*s/3)*e, 5.0/3*(1+s)*e
	}
	// Symmetric matrices keep their upper triangle: element (j, i) for j < i.
	cov := mat.NewSymDense(n, nil)
	raw := cov.RawSymmetric().Data
	at := 0
	for i := range n {
		for j := range i {
			raw[j*n+i] = scale * corr[at]
			at++
		}
		raw[i*n+i] = scale + noise + minNoise
	}
	var chol mat.Cholesky
	if !chol.Factorize(cov) {
		return
	}
	alpha := mat.NewVecDense(n, nil)
	if chol.SolveVecTo(alpha, mat.NewVecDense(n, f.y)) != nil {
		return
	}
	var inverse mat.SymDense
	if chol.InverseTo(&inverse) != nil {
		return
	}
	f.cost = 0.5*mat.Dot(alpha, mat.NewVecDense(n, f.y)) + 0.5*chol.LogDet()
	// half is K⁻¹ - ααᵀ over the pairs; the slope is half its product with dK.
	trace, onScale := 0.0, 0.0
	shared, inv, a := make([]float64, pairs), inverse.RawSymmetric().Data, alpha.RawVector().Data
	at = 0
	for i := range n {
		for j := range i {
			h := inv[j*n+i] - a[i]*a[j]
			onScale += 2 * h * corr[at]
			shared[at] = h * fall[at]
			at++
		}
		trace += inv[i*n+i] - a[i]*a[i]
	}
	for k, w := range weights {
		sum := 0.0
		for i, g := range f.gaps[k] {
			sum += g * shared[i]
		}
		f.slope[k] = scale * w * sum
	}
	f.slope[d] = 0.5 * scale * (onScale + trace)
	f.slope[d+1] = 0.5 * noise * trace
	f.prior(theta)
}

func (f *fitter) prior(theta []float64) {
	d := len(f.dims)
	add := func(k int, mean, spread float64) {
		z := (theta[k] - mean) / spread
		f.cost += 0.5 * z * z
		f.slope[k] += z / spread
	}
	for k := range d {
		add(k, f.mean[k], lengthSpread)
	}
	add(d, 0, scaleSpread)
	add(d+1, noiseMean, noiseSpread)
}

func same(a, b []float64) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

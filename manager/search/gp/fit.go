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
	// A quantity of the constraints counts for less than a parameter until the
	// data say otherwise: its length scale is longer, as a logarithm.
	quantityMean = 0.4
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
		if !dims[k].twin && dims[k].quantity == nil {
			parameters++
		}
	}
	for k := range dims {
		mean := lengthMean + 0.5*math.Log(parameters)
		if dims[k].quantity != nil {
			mean += quantityMean
		}
		f.mean = append(f.mean, mean)
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

// fit returns the logarithms of the parameters, from the better of two fixed
// starting points.
func (f *fitter) fit(iterations int) []float64 {
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
	return best
}

// params are those of the given logarithms.
func (f *fitter) params(theta []float64) params {
	d := len(f.dims)
	p := params{weights: make([]float64, d), scale: math.Exp(theta[d]), noise: minNoise + math.Exp(theta[d+1])}
	for k := range d {
		p.weights[k] = math.Exp(-2 * theta[k])
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
// constants.
func (f *fitter) compute(theta []float64) {
	if f.theta != nil && same(f.theta, theta) {
		return
	}
	f.theta, f.slope = append([]float64(nil), theta...), make([]float64, len(theta))
	f.cost = math.Inf(1)
	if e, ok := f.evidence(theta); ok && f.slopes(e) {
		f.cost = e.cost()
		f.prior(theta)
	}
}

// evidence is what the values say of some parameters.
type evidence struct {
	params params
	corr   []float64 // correlations of all pairs i > j
	fall   []float64 // minus twice their slopes by the squared distance
	chol   mat.Cholesky
	values *mat.VecDense
	alpha  *mat.VecDense // the inverse covariance times the values
}

// cost is the negative log likelihood without constants (Rasmussen and
// Williams, eq. 5.8).
func (e *evidence) cost() float64 {
	return 0.5*mat.Dot(e.alpha, e.values) + 0.5*e.chol.LogDet()
}

// evidence factorises the covariance of the points; false where the parameters
// are beyond all reason, or the covariance is singular.
func (f *fitter) evidence(theta []float64) (*evidence, bool) {
	for _, t := range theta {
		if math.Abs(t) > 20 || math.IsNaN(t) {
			return nil, false
		}
	}
	n := len(f.y)
	pairs := n * (n - 1) / 2
	e := &evidence{params: f.params(theta), corr: make([]float64, pairs), fall: make([]float64, pairs),
		values: mat.NewVecDense(n, f.y), alpha: mat.NewVecDense(n, nil)}
	for k, w := range e.params.weights {
		for i, g := range f.gaps[k] {
			e.corr[i] += w * g // the squared distance, at first
		}
	}
	for i, r := range e.corr {
		s := sqrt5 * math.Sqrt(r)
		decay := math.Exp(-s)
		e.corr[i], e.fall[i] = (1+s+s*s/3)*decay, 5.0/3*(1+s)*decay
	}
	// Symmetric matrices keep their upper triangle: element (j, i) for j < i.
	cov := mat.NewSymDense(n, nil)
	raw := cov.RawSymmetric().Data
	at := 0
	for i := range n {
		for j := range i {
			raw[j*n+i] = e.params.scale * e.corr[at]
			at++
		}
		raw[i*n+i] = e.params.scale + e.params.noise
	}
	return e, e.chol.Factorize(cov) && e.chol.SolveVecTo(e.alpha, e.values) == nil
}

// slopes sets the slope of the cost by the logarithms of the parameters
// (Rasmussen and Williams, eq. 5.9); false when the covariance has no inverse.
func (f *fitter) slopes(e *evidence) bool {
	var inverse mat.SymDense
	if e.chol.InverseTo(&inverse) != nil {
		return false
	}
	// half is K⁻¹ - ααᵀ over the pairs; the slope is half its product with dK.
	n, d := len(f.y), len(f.dims)
	trace, onScale := 0.0, 0.0
	shared, inv, a := make([]float64, len(e.corr)), inverse.RawSymmetric().Data, e.alpha.RawVector().Data
	at := 0
	for i := range n {
		for j := range i {
			half := inv[j*n+i] - a[i]*a[j]
			onScale += 2 * half * e.corr[at]
			shared[at] = half * e.fall[at]
			at++
		}
		trace += inv[i*n+i] - a[i]*a[i]
	}
	for k, w := range e.params.weights {
		sum := 0.0
		for i, g := range f.gaps[k] {
			sum += g * shared[i]
		}
		f.slope[k] = e.params.scale * w * sum
	}
	f.slope[d] = 0.5 * e.params.scale * (onScale + trace)
	f.slope[d+1] = 0.5 * (e.params.noise - minNoise) * trace
	return true
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

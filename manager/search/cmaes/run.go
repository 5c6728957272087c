package cmaes

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/fleetune/fleetune/manager/search/sampler"
	"github.com/fleetune/fleetune/manager/search/valid"
	"github.com/fleetune/fleetune/proto/space"
)

// A run is one distribution on its way. Points are m + sigma * A * N(0, C), A
// diagonal; names are those of Hansen's tutorial.
type run struct {
	search     *search
	population int
	rng        uint64

	mean   []float64
	sigma  float64
	cov    *mat.SymDense // C
	scale  []float64     // A, other than 1 where a margin is kept
	ps, pc []float64     // evolution paths of sigma and C
	basis  *mat.Dense    // eigenvectors of C
	roots  []float64     // square roots of its eigenvalues
	chance [][]float64   // by kind and value

	generation int
	best       *sampler.Trial
	stalled    int // generations without a better point
	broken     bool
}

func (r *run) begin(start valid.Vec) {
	d := len(r.search.axes)
	for _, a := range r.search.axes {
		m := 0.5
		if c := start[a.parameter]; !space.IsAbsent(c) {
			m = a.place(c)
		}
		r.mean, r.scale = append(r.mean, m), append(r.scale, 1)
	}
	r.ps, r.pc = make([]float64, d), make([]float64, d)
	if d > 0 {
		r.cov = mat.NewSymDense(d, nil)
		for k := range d {
			r.cov.SetSym(k, k, 1)
		}
		r.decompose()
	}
	for _, c := range r.search.kinds {
		p := slices.Repeat([]float64{1 / float64(c.size)}, c.size)
		if at := start[c.parameter]; !space.IsAbsent(at) {
			for v := range p { // half of it stays where the run begins
				p[v] /= 2
			}
			p[int(at)] += 0.5
		}
		r.chance = append(r.chance, p)
	}
}

// decompose brings the eigenvectors up to date.
func (r *run) decompose() {
	var eigen mat.EigenSym
	if !eigen.Factorize(r.cov, true) {
		r.broken = true
		return
	}
	values := eigen.Values(nil)
	least, most := slices.Min(values), slices.Max(values)
	if !(least > 0) || most > 1e14*least {
		r.broken = true
		return
	}
	for k := range values {
		values[k] = math.Sqrt(values[k])
	}
	var basis mat.Dense
	eigen.VectorsTo(&basis)
	r.basis, r.roots = &basis, values
}

// deviation along an axis.
func (r *run) deviation(k int) float64 {
	return r.sigma * r.scale[k] * math.Sqrt(r.cov.At(k, k))
}

// draw places a point on the axes.
func (r *run) draw(width float64, rng *rand.Rand) []float64 {
	d := len(r.mean)
	out := make([]float64, d)
	if d == 0 {
		return out
	}
	z := mat.NewVecDense(d, nil)
	for k := range d {
		z.SetVec(k, r.roots[k]*rng.NormFloat64())
	}
	var y mat.VecDense
	y.MulVec(r.basis, z)
	for k := range out {
		out[k] = r.mean[k] + width*r.sigma*r.scale[k]*y.AtVec(k)
	}
	return out
}

// pick draws a value of an unordered parameter.
func (r *run) pick(k int, width float64, rng *rand.Rand) float64 {
	p := r.chance[k]
	u := rng.Float64()
	if rng.Float64() > 1/width {
		return math.Floor(u * float64(len(p)))
	}
	for v, q := range p {
		if u -= q; u < 0 {
			return float64(v)
		}
	}
	return float64(len(p) - 1)
}

// learn moves the distribution by one generation. Points that failed rank last;
// when all did, it draws together around its mean.
func (r *run) learn(group []sampler.Trial) {
	r.generation++
	var order, failed []int
	for _, i := range sampler.Order(group) {
		if group[i].Losses == nil && group[i].Constraints == nil {
			failed = append(failed, i)
		} else {
			order = append(order, i)
		}
	}
	r.stalled++
	if len(order) == 0 {
		r.sigma *= 0.8
		return
	}
	if first := &group[order[0]]; r.best == nil || better(first, r.best) {
		t := *first
		r.best, r.stalled = &t, 0
	}
	chosen := order[:min(len(order), max(len(group)/2, 1))]
	weights := make([]float64, len(chosen))
	for i := range weights {
		weights[i] = math.Log(float64(len(group)+1)/2) - math.Log(float64(i+1))
	}
	floats.Scale(1/floats.Sum(weights), weights)
	for k := range r.chance {
		r.shift(k, group, chosen, weights)
	}
	if len(r.mean) > 0 {
		r.adapt(r.steps(group, chosen), r.steps(group, append(order[len(chosen):], failed...)), weights)
		r.margins()
		if !r.broken {
			r.decompose()
		}
	}
}

func (r *run) steps(group []sampler.Trial, members []int) [][]float64 {
	out := make([][]float64, len(members))
	for i, k := range members {
		out[i] = r.step(&group[k])
	}
	return out
}

// step is how far a point lies from the mean, in units of sigma and A. A value
// of a discrete axis stands for its whole part of it, so a place is drawn there;
// an absent parameter says nothing, so one is drawn on the whole axis. Steps
// that the distribution would hardly make are shortened, since others may have
// proposed the point (Hansen, "Injecting external solutions into CMA-ES", 2011).
func (r *run) step(t *sampler.Trial) []float64 {
	rng := rand.New(rand.NewPCG(r.rng, uint64(t.Number)))
	y := make([]float64, len(r.mean))
	for k := range y {
		a := &r.search.axes[k]
		u, c, s := rng.Float64(), t.Vec[a.parameter], r.deviation(k)
		place := r.mean[k]
		switch {
		case space.IsAbsent(c):
			place += s * quantile(u)
		case a.discrete():
			low, high := a.span(c)
			place = within(r.mean[k], s, low, high, u)
		default:
			place = a.place(c)
		}
		y[k] = (place - r.mean[k]) / (r.sigma * r.scale[k])
	}
	d := float64(len(y))
	if length, most := floats.Norm(r.whiten(y), 2), math.Sqrt(d)+2*d/(d+2); length > most {
		floats.Scale(most/length, y)
	}
	return y
}

// whiten is C^-1/2 y.
func (r *run) whiten(y []float64) []float64 {
	d := len(y)
	var z, out mat.VecDense
	z.MulVec(r.basis.T(), mat.NewVecDense(d, y))
	for k := range d {
		z.SetVec(k, z.AtVec(k)/r.roots[k])
	}
	out.MulVec(r.basis, &z)
	return out.RawVector().Data
}

// adapt is one generation of CMA-ES with the default learning rates of Hansen's
// tutorial (table 1): towards the steps that have weights, away from the others,
// which are given from better to worse.
func (r *run) adapt(steps, others [][]float64, weights []float64) {
	d := len(r.mean)
	n := float64(d)
	mu := 1 / floats.Dot(weights, weights)
	cs := (mu + 2) / (n + mu + 5)
	ds := 1 + 2*max(0, math.Sqrt((mu-1)/(n+1))-1) + cs
	cc := (4 + mu/n) / (n + 4 + 2*mu/n)
	c1 := 2 / ((n+1.3)*(n+1.3) + mu)
	cmu := min(1-c1, 2*(mu-2+1/mu)/((n+2)*(n+2)+mu))
	cmu = max(cmu, 0)
	chi := math.Sqrt(n) * (1 - 1/(4*n) + 1/(21*n*n))

	move := make([]float64, d)
	for i, y := range steps {
		floats.AddScaled(move, weights[i], y)
	}
	for k := range d {
		r.mean[k] += r.sigma * r.scale[k] * move[k]
		if !r.search.axes[k].discrete() {
			r.mean[k] = min(max(r.mean[k], 0), 1)
		}
	}
	floats.Scale(1-cs, r.ps)
	floats.AddScaled(r.ps, math.Sqrt(cs*(2-cs)*mu), r.whiten(move))
	length := floats.Norm(r.ps, 2)
	rises := 0.0
	if length/math.Sqrt(1-math.Pow(1-cs, 2*float64(r.generation))) < (1.4+2/(n+1))*chi {
		rises = 1
	}
	floats.Scale(1-cc, r.pc)
	floats.AddScaled(r.pc, rises*math.Sqrt(cc*(2-cc)*mu), move)

	away := repulsion(len(steps), len(others), n, mu, c1, cmu)
	repelled := floats.Sum(away)
	for i, y := range others { // scaled so that C stays positive (eq. 46)
		length := floats.Norm(r.whiten(y), 2)
		away[i] *= n / max(length*length, 1e-12)
	}
	r.cov.ScaleSym(1-c1-cmu*(1-repelled)+(1-rises)*c1*cc*(2-cc), r.cov)
	for i, y := range others {
		r.cov.SymRankOne(r.cov, -cmu*away[i], mat.NewVecDense(d, y))
	}
	r.cov.SymRankOne(r.cov, c1, mat.NewVecDense(d, r.pc))
	for i, y := range steps {
		r.cov.SymRankOne(r.cov, cmu*weights[i], mat.NewVecDense(d, y))
	}
	r.sigma = min(r.sigma*math.Exp(min(1, cs/ds*(length/chi-1))), 1)
}

// repulsion gives the amounts of the negative weights of the points ranked after
// so many chosen ones (Hansen's tutorial, eqs. 49 to 53).
func repulsion(chosen, others int, n, mu, c1, cmu float64) []float64 {
	out := make([]float64, others)
	if others == 0 || cmu == 0 {
		return out
	}
	half := float64(chosen+others+1) / 2
	for i := range out {
		out[i] = max(math.Log(float64(chosen+i+1))-math.Log(half), 0)
	}
	total := floats.Sum(out)
	if total == 0 {
		return out
	}
	effective := total * total / floats.Dot(out, out)
	bound := min(1+c1/cmu, 1+2*effective/(mu+2), (1-c1-cmu)/(n*cmu))
	floats.Scale(bound/total, out)
	return out
}

// shift moves the chances of an unordered parameter's values towards those of
// the chosen points, and keeps each above the margin of CatCMA.
func (r *run) shift(k int, group []sampler.Trial, chosen []int, weights []float64) {
	p, c := r.chance[k], r.search.kinds[k]
	// As fast as the mean of so many parameters may move on this evidence.
	rate := min(0.5, 2/(floats.Dot(weights, weights)*float64(4*(c.size-1)+len(group))))
	move := make([]float64, c.size)
	for i, at := range chosen {
		v := group[at].Vec[c.parameter]
		if space.IsAbsent(v) {
			floats.AddScaled(move, weights[i], p)
			continue
		}
		move[int(v)] += weights[i]
	}
	total := 0.0
	least := (1 - math.Pow(0.73, 1/float64(len(r.chance)))) / float64(c.size-1)
	for v := range p {
		p[v] = max(p[v]+rate*(move[v]-p[v]), min(least, 0.5/float64(c.size)))
		total += p[v]
	}
	floats.Scale(1/total, p)
}

// over says that the run has converged, or found nothing better for long.
func (r *run) over() bool {
	if r.broken || r.sigma < 1e-12 || math.IsNaN(r.sigma) {
		return true
	}
	n := float64(len(r.mean) + len(r.chance))
	if float64(r.stalled) > 10+math.Ceil(30*n/float64(r.population)) {
		return true
	}
	if len(r.mean) == 0 {
		return false
	}
	for k := range r.mean {
		a := &r.search.axes[k]
		least := 1e-6
		if a.discrete() {
			least = 0.05 / a.size
		}
		if r.deviation(k)/r.scale[k] > least {
			return false
		}
	}
	return true
}

package gp

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// posterior conditions a process on points one at a time and keeps, for a
// fixed list of candidates, what their means and variances need. Adding the
// n-th point costs O(n² + n·candidates).
//
// Row i of factor is row i of the Cholesky factor L of the covariance of the
// points; solved[i] is row i of L⁻¹K, K the covariance of points and
// candidates. Both depend on the points alone, not on the values.
type posterior struct {
	dims    []dimension
	params  params
	columns [][]float64
	count   int

	rows      [][]float64
	factor    [][]float64
	solved    [][]float64
	explained []float64
}

func newPosterior(dims []dimension, p params, columns [][]float64, count int) *posterior {
	return &posterior{dims: dims, params: p, columns: columns, count: count, explained: make([]float64, count)}
}

// add conditions on one more point.
func (p *posterior) add(x []float64) {
	n := len(p.rows)
	l := make([]float64, n+1)
	for j := range n {
		k := p.params.covariance(p.dims, x, p.rows[j])
		l[j] = (k - floats.Dot(l[:j], p.factor[j][:j])) / p.factor[j][j]
	}
	rest := p.params.scale + p.params.noise - floats.Dot(l[:n], l[:n])
	l[n] = math.Sqrt(max(rest, 1e-10*p.params.scale))
	v := make([]float64, p.count)
	p.params.covariances(p.dims, x, p.columns, v)
	for j := range n {
		floats.AddScaled(v, -l[j], p.solved[j])
	}
	floats.Scale(1/l[n], v)
	for i, s := range v {
		p.explained[i] += s * s
	}
	p.rows, p.factor, p.solved = append(p.rows, x), append(p.factor, l), append(p.solved, v)
}

// truncate goes back to the first n points. It leaves exactly what adding
// them alone would have.
func (p *posterior) truncate(n int) {
	if n == len(p.rows) {
		return
	}
	p.rows, p.factor, p.solved = p.rows[:n], p.factor[:n], p.solved[:n]
	clear(p.explained)
	for _, v := range p.solved {
		for i, s := range v {
			p.explained[i] += s * s
		}
	}
}

// whiten returns L⁻¹y for the values of the first points.
func (p *posterior) whiten(y []float64) []float64 {
	z := make([]float64, len(y))
	for i := range y {
		z[i] = (y[i] - floats.Dot(z[:i], p.factor[i][:i])) / p.factor[i][i]
	}
	return z
}

// means fills out with the candidates' means, given the whitened values of the
// leading points. Points beyond those are fantasies at their own mean (the
// kriging believer): they change variances and leave means as they are.
func (p *posterior) means(z, out []float64) {
	clear(out)
	for j, s := range z {
		floats.AddScaled(out, s, p.solved[j])
	}
}

// variance of the latent value at candidate i.
func (p *posterior) variance(i int) float64 {
	return max(p.params.scale-p.explained[i], 1e-12*p.params.scale)
}

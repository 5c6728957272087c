package gp

import "math"

var sqrt5 = math.Sqrt(5)

// params of the covariance: k(a,b) = scale * m(r), m the Matérn-5/2
// correlation and r² the gaps weighted by the inverse squared length scales;
// noise is added on the diagonal.
type params struct {
	weights []float64
	scale   float64
	noise   float64
}

// matern is the Matérn correlation with smoothness 5/2 of a squared distance:
// (1 + √5 r + 5/3 r²) exp(-√5 r) (Rasmussen and Williams, eq. 4.17).
func matern(r2 float64) float64 {
	s := sqrt5 * math.Sqrt(r2)
	return (1 + s + s*s/3) * math.Exp(-s)
}

func (p *params) covariance(dims []dimension, a, b []float64) float64 {
	r2 := 0.0
	for k := range dims {
		r2 += p.weights[k] * dims[k].gap(a[k], b[k])
	}
	return p.scale * matern(r2)
}

// covariances fills out with the covariance of x and every point of columns.
func (p *params) covariances(dims []dimension, x []float64, columns [][]float64, out []float64) {
	clear(out)
	for k := range dims {
		w, a := p.weights[k], x[k]
		column := columns[k][:len(out)]
		if !dims[k].ordered || a == absent {
			for i, b := range column {
				if b != a {
					out[i] += w
				}
			}
			continue
		}
		for i, b := range column {
			d := a - b
			g := d * d
			if b == absent {
				g = 1
			}
			out[i] += w * g
		}
	}
	for i, r2 := range out {
		out[i] = p.scale * matern(r2)
	}
}
